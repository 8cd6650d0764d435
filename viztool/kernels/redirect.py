"""Gradients through ReLUs for pictures that get none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class Redirected(TorchFunctionMode):
    """Inside the block a ReLU, ReLU6 or hard swish also hands back the gradient that would wake it up.

    Where a unit is silent (or a ReLU6 saturated) its gradient is zero, and a picture whose every path is such has
    no direction to go. Here, for a picture whose whole gradient at the function is zero, what would move a silent
    unit up or a saturated one down goes through. Values do not change, and nothing is edited: every function of
    the network is seen as it is called, whether a layer calls it or the network does, shared or not.

    After the redirected gradients of lucid (Olah et al. 2017).
    """

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        limits = limits_of(func, args, kwargs)
        if limits is None or not args or not isinstance(args[0], Tensor):
            return func(*args, **kwargs)
        x: Tensor = args[0]
        if works_in_place(func, args, kwargs):
            return x.copy_(_Redirect.apply(x.clone(), *limits))
        return _Redirect.apply(x, *limits)


_INF = float("inf")
_IN_PLACE = {torch.relu_, Tensor.relu_}
_RELU = {F.relu, torch.relu, Tensor.relu, *_IN_PLACE}
_FALLS = -1.5
"""Below it a hard swish falls, or is flat."""


def limits_of(func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> tuple[float | None, float] | None:
    """Between which values a function rises: a lower limit of None says that it is a hard swish. None: another one."""
    if func in _RELU:
        return 0.0, _INF
    if func is F.relu6:
        return 0.0, 6.0
    if func is F.hardtanh:  # which ReLU6 calls
        given = dict(zip(("x", "min_val", "max_val"), args, strict=False)) | kwargs
        return float(given.get("min_val", -1.0)), float(given.get("max_val", 1.0))
    return (None, _INF) if func is F.hardswish else None


def works_in_place(func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> bool:
    """Whether such a function writes its result over what it is given."""
    return func in _IN_PLACE or bool(kwargs.get("inplace")) or args[-1] is True


class _Redirect(torch.autograd.Function):
    """See `limits_of`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float | None, high: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.limits = (low, high)
        return F.hardswish(x) if low is None else x.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        low, high = ctx.limits
        below, above = x <= (_FALLS if low is None else low), x >= high
        if low is None:
            slope = torch.where(x >= 3, 1.0, torch.where(x <= -3, 0.0, (2 * x + 3) / 6))
            usual = gradient * slope
        else:
            usual = torch.where(below | above, 0, gradient)
        # The loss falls as the score rises: a negative gradient pushes up.
        wakes = (below & (gradient < 0)) | (above & (gradient > 0))
        redirected = torch.where(wakes, gradient, usual)
        # What only the falling part of a hard swish hands back would keep the unit asleep.
        silent = ~torch.where(below, 0, usual).flatten(1).any(1)
        return torch.where(silent.view(-1, *[1] * (x.dim() - 1)), redirected, usual), None, None
