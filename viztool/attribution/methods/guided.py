"""Gradients that ReLUs pass on in their own way, by whatever name the network calls them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from viztool.attribution.graph import operation
from viztool.attribution.passes import under
from viztool.attribution.registry import method
from viztool.attribution.rules import Call, RuleFunction, Rules, is_foreign
from viztool.errors import ModelError
from viztool.hooks.tail import TailPass
from viztool.targets.question import Question
from viztool.tensors.graph import nodes

_NAMES = "Silu Gelu Mish Elu LeakyRelu Hardswish Hardsigmoid Sigmoid Tanh Softplus PreluKernel Softmax Softsign"
_SMOOTH = frozenset(_NAMES.split())
_CLOSED = frozenset({"Relu", "Maximum"})
"""Nodes that are a ReLU, or may be one, where no rule met it."""


@method("guided_backprop", "Guided backpropagation", "Springenberg et al. 2015", unit="guided score / input")
def guided_backprop(question: Question) -> Tensor:
    """The gradient, where each ReLU also drops what is negative on its way back: G_in = G_out · [x > 0] · [G_out > 0].

    A picture of what excites the network more than of the class: it hardly changes with the target (Adebayo 2018).
    """
    return _rectified(question, "guided_backprop", masks=True)


@method("deconvnet", "Deconvolution", "Zeiler and Fergus 2014", unit="deconvolved score / input")
def deconvnet(question: Question) -> Tensor:
    """The gradient, where each ReLU rectifies the way back instead of masking it: G_in = G_out · [G_out > 0]."""
    return _rectified(question, "deconvnet", masks=False)


@method("guided_gradcam", "Guided Grad-CAM", "Selvaraju et al. 2017", unit="guided score / input × Grad-CAM")
def guided_gradcam(question: Question, *, layer: str | None = None) -> Tensor:
    """Guided backpropagation times Grad-CAM of a layer (by default the last with maps), resized bilinearly."""
    from viztool.cam.layer_choice import choose_layer

    chosen = layer or choose_layer(question.net, question.x)
    guided = guided_backprop(question).float().sum(tuple(range(1, question.x.dim() - 2)))
    run = TailPass(question.net, question.x, chosen)
    name = next(iter(run.activations))
    with torch.enable_grad():
        gradients = run.gradients(question.target.score(run.output))
    maps, weights = (run.as_maps(name, each).float() for each in (run.activations[name], gradients[name]))
    gradcam = (maps * weights.mean((2, 3), keepdim=True)).sum(1, keepdim=True).relu()
    question.details["layer"] = name
    return guided * F.interpolate(gradcam, guided.shape[-2:], mode="bilinear")[:, 0]


def _rectified(question: Question, name: str, masks: bool) -> Tensor:
    """The gradient at the input (N, C, H, W), where what goes back through a ReLU is rectified."""
    rule = _Rectifiers(masks)
    passed = under(Rules(dict.fromkeys(_FLOORS, rule)), question)
    others = Counter[str]()
    for node in nodes(passed.ends.values()):
        kind = operation(node)
        if kind in _CLOSED or is_foreign(node):
            raise ModelError(f"{name} cannot see whether {kind!r} in this network is a ReLU; use gradient")
        if kind in _SMOOTH:
            others[kind.lower()] += 1
    if not rule.count:
        has = f" (it has {', '.join(others)})" if others else ""
        raise ModelError(f"{name} changes what ReLUs pass on, and this network has none{has}; use gradient")
    question.details.update(rectifiers=rule.count, plain_gradient_through=dict(others))
    return passed.multipliers()


_FLOORS: dict[str, tuple[str, float | None]] = {
    "relu": ("", 0.0),
    "relu6": ("", 0.0),
    "hardtanh": ("min_val", -1.0),
    "threshold": ("threshold", None),
    "clamp": ("min", None),
    "clamp_min": ("min", None),
}
"""Functions that may cut off all below 0, with the argument that says at what they cut, and its default."""


class _Rectifiers:
    """ReLU, ReLU6, and what amounts to them. masks: whether what is not above 0 passes nothing back."""

    def __init__(self, masks: bool) -> None:
        self._masks = masks
        self.count = 0

    def __call__(self, call: Call) -> Any:
        argument, default = _FLOORS[call.name]
        floor = call.kwargs.get(argument, call.args[1] if len(call.args) > 1 and argument else default)
        if not call.x.requires_grad or isinstance(floor, Tensor) or floor != 0:
            return NotImplemented
        self.count += 1
        x, value = call.x, call.value()
        # What is above the ceiling of a ReLU6 passes nothing back either.
        mask = (x > 0) & (value == x) if self._masks else None
        rectified: Tensor = Rectified.apply(x, value, mask)
        return rectified


class Rectified(RuleFunction):
    """`value`, of which only what is positive goes back to `x`, times `mask`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        ctx.save_for_backward(*(() if mask is None else (mask,)))
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        positive = gradients[0].clamp(min=0)
        return positive * ctx.saved_tensors[0] if ctx.saved_tensors else positive, None, None
