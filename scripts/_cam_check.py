"""Grad-CAM of a network at the layer that is chosen by itself, against plain autograd."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

import viztool
from viztool.models import Model

TOLERANCE = 1e-3
"""Of the map's largest value: attention has two kernels, and channels are summed in another order."""


def check_cam(model: Model, x: Tensor) -> str:
    """The layer that was chosen. AssertionError if its map is not what the gradients of plain hooks make."""
    heatmap = viztool.class_activation_map(model, x)
    (layer,) = heatmap.layer
    assert heatmap.classes is not None
    h, w = heatmap.raw.shape[1:]
    assert h * w > 1, f"the map of {layer} has one cell"
    activation, gradient = plain_gradient(model, x, layer, heatmap.classes[0])
    assert bool(gradient.any()), f"the score does not depend on {layer}"
    a, limit = heatmap.raw[0], max(float(heatmap.raw.abs().max()), 1e-12)
    expected = list(grad_cams(activation, gradient, h, w))
    fits = [each for each in expected if float((each - a).abs().max()) <= TOLERANCE * limit]
    assert fits, f"the map of {layer}, {tuple(activation.shape)}, is not Grad-CAM"
    return layer


def plain_gradient(model: Model, x: Tensor, layer: str, label: int) -> tuple[Tensor, Tensor]:
    """What the layer puts out in its last call, and the gradient of the class there. Shares no code with viztool."""
    seen: list[Tensor] = []

    def hook(_module: Any, _args: Any, output: Tensor) -> Tensor:
        seen.append(output.detach().clone().requires_grad_())
        return seen[-1].clone()

    handle = model.net.get_submodule(layer).register_forward_hook(hook)
    try:
        output = model.net(x.clone())
    finally:
        handle.remove()
    scores = output if isinstance(output, Tensor) else first_tensor(output)
    (gradient,) = torch.autograd.grad(
        scores.flatten(2).mean(2)[0, label] if scores.dim() > 2 else scores[0, label], seen[-1]
    )
    return seen[-1].detach(), gradient


def first_tensor(output: Any) -> Tensor:
    if isinstance(output, Tensor):
        return output
    if isinstance(output, dict) and "logits" in output:
        return first_tensor(output["logits"])
    return first_tensor(next(iter(output.values() if isinstance(output, dict) else output)))


def grad_cams(activation: Tensor, gradient: Tensor, h: int, w: int) -> Iterator[Tensor]:
    """Grad-CAM in every reading that gives a map of h × w: channels second, channels last, tokens."""
    pairs = []
    if activation.dim() == 4:
        pairs += [(activation[0], gradient[0]), (activation[0].permute(2, 0, 1), gradient[0].permute(2, 0, 1))]
    elif activation.dim() == 3 and activation.shape[1] >= h * w:
        a, g = (each[0, -h * w :].T.reshape(-1, h, w) for each in (activation, gradient))
        pairs += [(a, g)]
    for a, g in pairs:
        if a.shape[1:] == (h, w):
            yield (g.mean((1, 2), keepdim=True) * a).sum(0).relu()
