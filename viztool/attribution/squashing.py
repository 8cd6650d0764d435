"""Sigmoid and softmax, that end a network, stand in it as activation functions, or are gates that a signal meets."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from viztool.attribution.graph import operation
from viztool.attribution.rules import Call, RuleFunction, ratio
from viztool.tensors.tree import map_tensors, tensors_in

_NODES = 64
"""Of the quadrature: the softmax of 1000 logits that differ by 100 is met to 1e-5."""

Keep = Callable[[Tensor], None]
"""Told what of the relevance, in the form of a layer, went to what the function gives for 0."""


class Secant(RuleFunction):
    """`value` of an elementwise f, with (f(x) − f(0)) / x in place of its derivative."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor, slope: Tensor, at_zero: Tensor, keep: Keep) -> Tensor:
        ctx.save_for_backward(slope, at_zero)
        ctx.keep = keep
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        slope, at_zero = ctx.saved_tensors
        ctx.keep(gradients[0] * at_zero)
        return gradients[0] * slope, None, None, None, None


class OnTheWay(RuleFunction):
    """`value` of f, with the mean of its derivative on the straight way from `start` in place of that at x.

    Complete: (x − start) · that is f(x) − f(start). Unlike the derivative it does not vanish where f is saturated.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor, start: Tensor, f: Callable[[Tensor], Tensor], keep: Keep) -> Tensor:
        ctx.save_for_backward(x.clone(), start)
        ctx.f, ctx.keep = f, keep
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        x, start = ctx.saved_tensors
        ctx.keep(gradients[0] * ctx.f(start))
        mean = torch.zeros_like(x)
        for place, weight in _quadrature():
            with torch.enable_grad():
                leaf = (start + place * (x - start)).detach().requires_grad_()
                value = ctx.f(leaf)
            mean += weight * torch.autograd.grad(value, leaf, gradients[0])[0]
        return mean, None, None, None, None


class Softmax(OnTheWay):
    """The same of a softmax, which may be a gate."""


def sigmoid(call: Call, keep: Keep) -> Tensor:
    """What a sigmoid gives, by `Secant`. What it gives for 0 is a constant, as a bias is, and keeps its part."""
    x, value = call.x.detach(), call.value()
    at_zero = call.of(x.new_zeros(1))
    with torch.enable_grad():
        leaf = x.new_zeros(1).requires_grad_()
        rise = torch.autograd.grad(call.of(leaf.clone()), leaf)[0]
    slope = torch.where(x == 0, rise, ratio(value - at_zero, x))
    result: Tensor = Secant.apply(call.x, value, slope, at_zero, keep)
    return result


def softmax(call: Call, start: Tensor, keep: Keep) -> Tensor:
    """What a softmax, or its logarithm, gives, by `OnTheWay` from these inputs."""
    kind = Softmax if call.name == "softmax" else OnTheWay
    args, kwargs, function = call.args[1:], call.kwargs, call.function
    result: Tensor = kind.apply(call.x, call.value(), start, lambda x: function(x, *args, **kwargs), keep)
    return result


_PRODUCTS = frozenset(["mul", "matmul", "rmatmul", "bmm", "mm", "mv", "dot", "einsum", "baddbmm", "addcmul"])
_QUOTIENTS = frozenset(["div", "truediv", "divide", "true_divide"])


def gates_held(name: str, given: Any) -> Any:
    """The arguments that a function is to be given: where gates and a signal are multiplied, the gates as constants.

    The signal takes all (Arras et al. 2017); where there are gates alone, the first is the signal.
    """
    if name not in _PRODUCTS | _QUOTIENTS:
        return given
    asking = [tensor for tensor in tensors_in(given) if tensor.requires_grad]
    if len(asking) < 2:
        return given
    gates = [tensor for tensor in asking if _is_gate(tensor)]
    if name in _QUOTIENTS or len(gates) == len(asking):
        gates = [gate for gate in gates if gate is not asking[0]]
    held = set(map(id, gates))
    return map_tensors(lambda tensor: tensor.detach() if id(tensor) in held else tensor, given) if held else given


def _is_gate(tensor: Tensor) -> bool:
    """Whether all that the tensor has of the input came through a sigmoid or a softmax."""
    todo, seen = [tensor.grad_fn], set()
    while todo:
        node = todo.pop()
        if node in seen or issubclass(getattr(node, "_forward_cls", object), (Secant, Softmax)):
            continue
        before = [source for source, _ in node.next_functions] if node is not None else []
        if node is not None and operation(node) == "Copy":
            before = before[1:]  # what was there before was overwritten
        before = [source for source in before if source is not None]
        if not before:
            return False
        seen.add(node)
        todo.extend(before)
    return True


@cache
def _quadrature() -> list[tuple[float, float]]:
    places, weights = np.polynomial.legendre.leggauss(_NODES)
    return list(zip(((places + 1) / 2).tolist(), (weights / 2).tolist(), strict=True))
