"""Receptive fields found the slow way: which input pixels have a gradient, in a network that hides none.

All weights are positive and all biases zero, norms and activations are gone, maximum pooling is average
pooling. On a positive picture nothing then cancels, and the pixels with a gradient from one unit are exactly
those that it can see.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from functools import partial
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Box = tuple[tuple[int, int], ...]
"""(first, one past the last) pixel along each spatial axis."""

_NORMS = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.LocalResponseNorm,
)
_ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.SiLU, nn.GELU, nn.Hardswish, nn.Hardsigmoid, nn.Sigmoid, nn.Dropout)


def transparent(net: nn.Module) -> nn.Module:
    """A copy of the network, in double precision, in which every path from a pixel shows."""
    net = copy.deepcopy(net).double().eval()
    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, _NORMS + _ACTIVATIONS):
                setattr(module, name, _Copy())
            elif isinstance(child, nn.MaxPool1d | nn.MaxPool2d | nn.MaxPool3d):
                setattr(module, name, _Average(child))
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
            else:
                parameter.fill_(1 / max(1, parameter[0].numel()))
    return net


class _Copy(nn.Module):
    """The identity, but later in-place operations do not reach what came before."""

    def forward(self, x: Tensor) -> Tensor:
        return x.clone()


class _Average(nn.Module):
    """A maximum pooling's windows, dilation too, averaged."""

    def __init__(self, pool: nn.MaxPool2d) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        return windows_averaged(
            x, self.pool.kernel_size, self.pool.stride, self.pool.padding, self.pool.dilation, self.pool.ceil_mode
        )


def windows_averaged(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    """The windows of maximum pooling, averaged by a convolution; those that ceil_mode adds are padded."""
    kernel, step, pad, gap = (
        (value,) * 2 if isinstance(value, int) else tuple(value)
        for value in (kernel_size, stride or kernel_size, padding, dilation)
    )
    like = _max_pool2d(x.detach(), kernel, step, pad, gap, ceil_mode)
    x = F.pad(x, (pad[1], pad[1] + step[1] * kernel[1], pad[0], pad[0] + step[0] * kernel[0]))
    weight = x.new_full((x.shape[1], 1, *kernel), 1 / (kernel[0] * kernel[1]))
    averaged = F.conv2d(x, weight, stride=step, dilation=gap, groups=x.shape[1])
    return averaged[..., : like.shape[-2], : like.shape[-1]]


_max_pool2d = F.max_pool2d


def boxes(net: nn.Module, shape: tuple[int, ...], wanted: dict[str, Iterable[tuple[int, ...]]]) -> dict:
    """{(layer, unit): box of the pixels it sees} for units (i, j) of channels-first layers.

    shape: of the input. The last output of a layer counts.
    """
    net = transparent(net)
    x = torch.ones(shape, dtype=torch.float64, requires_grad=True)
    outputs: dict[str, Tensor] = {}
    for name in wanted:
        net.get_submodule(name).register_forward_hook(partial(_keep, outputs, name))
    with mock.patch("torch.nn.functional.max_pool2d", windows_averaged):
        net(x)
    found = {}
    for name, units in wanted.items():
        for unit in units:
            total = outputs[name][(0, slice(None), *unit)].sum()
            (gradient,) = torch.autograd.grad(total, x, retain_graph=True)
            found[name, unit] = box(gradient[0])
    return found


def _keep(outputs: dict[str, Tensor], name: str, module: nn.Module, args: object, output: Tensor) -> Tensor:
    outputs[name] = output
    return output.clone()


def box(gradient: Tensor) -> Box:
    """gradient: (C, *space)."""
    seen = gradient.abs().sum(0) > 0
    spans = []
    for axis in range(seen.dim()):
        others = [other for other in range(seen.dim()) if other != axis]
        pixels = (seen.any(dim=others) if others else seen).nonzero().flatten()
        spans.append((int(pixels[0]), int(pixels[-1]) + 1))
    return tuple(spans)
