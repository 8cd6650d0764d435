"""A network that is run many times over: as fast as it can be, and what it runs on in parts that memory holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from viztool.models.folding import folded

_LARGE = 160**2
"""Pixels from which on convolutions on a CPU are faster channels last."""

_AT_ONCE, _AT_ONCE_ELSEWHERE = 8, 64


def at_once(device: torch.device) -> int:
    """Images that pay in one forward: on a CPU more of them outgrow its caches."""
    return _AT_ONCE if device.type == "cpu" else _AT_ONCE_ELSEWHERE


class Repeated:
    """`net`, in evaluation mode, for many forwards on inputs like `x` (N, C, ..., H, W)."""

    def __init__(self, net: nn.Module, x: Tensor) -> None:
        self._net = folded(net, x[:1].clone())
        self._as_given = False

    def __call__(self, x: Tensor) -> Any:
        """The network's output, in the graph where `x` is. The network works on a copy of `x`."""
        if x.dim() != 4 or x.shape[-2] * x.shape[-1] < _LARGE or self._as_given:
            return self._net(x.clone())
        try:
            return self._net(x.clone(memory_format=torch.channels_last))
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:
            self._as_given = True  # a network that takes views of its maps needs them in the usual order
            return self._net(x.clone())


def in_parts(function: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """`function(inputs)`, or half by half, along the first dimension, where memory does not suffice for it at once."""
    try:
        return function(inputs)
    except torch.OutOfMemoryError:
        if len(inputs) == 1:
            raise
    return torch.cat([in_parts(function, half) for half in inputs.chunk(2)])
