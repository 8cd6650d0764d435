"""What the operations of a random network do: as they are, or as an oracle wants them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "relu6": F.relu6,
    "leaky": lambda x: F.leaky_relu(x, 0.1),
    "silu": F.silu,
    "gelu": F.gelu,
    "tanh": torch.tanh,
    "elu": F.elu,
    "hardswish": F.hardswish,
    "sigmoid": torch.sigmoid,
}
STRAIGHT = frozenset({"relu", "leaky"})
"""Of straight pieces that meet at 0: f(t x) = t f(x) for t > 0."""


class Plain:
    """The definitions, out of place. An oracle overrides what it wants otherwise."""

    def act(self, kind: str, x: Tensor) -> Tensor:
        return ACTIVATIONS[kind](x)

    def gate(self, x: Tensor, logits: Tensor) -> Tensor:
        return x * torch.sigmoid(logits)

    def norm(self, layer: nn.Module, x: Tensor) -> Tensor:
        result: Tensor = layer(x)
        if result.requires_grad:
            # torch 2.15 derives a batch norm wrongly on a CPU, of one image, whose gradient has the strides of tokens.
            result.register_hook(lambda gradient: None if gradient is None else gradient.contiguous())
        return result

    def max_pool(self, x: Tensor, kernel: int, stride: int, padding: int, dilation: int, ceil: bool) -> Tensor:
        return F.max_pool2d(x, kernel, stride, padding, dilation, ceil)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        mixed: Tensor = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v
        return mixed


class HeldFixed(Plain):
    """f(x) / x in place of f's derivative, and gates that let no gradient into themselves."""

    def act(self, kind: str, x: Tensor) -> Tensor:
        start = x.detach()
        value = ACTIVATIONS[kind](start)
        # What a sigmoid gives for 0 is nobody's.
        own = value - 0.5 if kind == "sigmoid" else value
        return x * torch.where(start == 0, torch.zeros_like(start), own / start) + (value - own)

    def gate(self, x: Tensor, logits: Tensor) -> Tensor:
        return x * torch.sigmoid(logits).detach()


class Guided(Plain):
    """ReLUs pass back what is positive, and where `masks` only to what was positive."""

    def __init__(self, masks: bool) -> None:
        self._masks = masks

    def act(self, kind: str, x: Tensor) -> Tensor:
        value = super().act(kind, x)
        if kind not in ("relu", "relu6") or not x.requires_grad:
            return value
        passes = (x > 0) & (value == x) if self._masks else torch.ones_like(x, dtype=torch.bool)
        # A value of x whose gradient is rectified on its way back.
        way = x * 1.0
        way.register_hook(lambda gradient: gradient.clamp(min=0) * passes)
        return way + (value - x).detach()


class Transparent(Plain):
    """Every path from a pixel shows, and nothing else: no activations, norms or gates; means in place of maxima."""

    def act(self, kind: str, x: Tensor) -> Tensor:
        return x

    def gate(self, x: Tensor, logits: Tensor) -> Tensor:
        return x

    def norm(self, layer: nn.Module, x: Tensor) -> Tensor:
        return x

    def max_pool(self, x: Tensor, kernel: int, stride: int, padding: int, dilation: int, ceil: bool) -> Tensor:
        like = F.max_pool2d(x.detach(), kernel, stride, padding, dilation, ceil)
        beyond = padding + stride * kernel * dilation
        wide = F.pad(x, (padding, beyond, padding, beyond))
        weight = x.new_ones(x.shape[1], 1, kernel, kernel)
        means = F.conv2d(wide, weight, stride=stride, dilation=dilation, groups=x.shape[1])
        return means[..., : like.shape[-2], : like.shape[-1]]

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return v
