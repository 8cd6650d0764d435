"""Other rules in place of derivatives, while a network runs as it is.

Ancona et al. 2018 (propositions 1 and 2): LRP and DeepLIFT are a gradient in which the derivative of each
nonlinear function is replaced. So one forward builds the autograd graph with the replaced derivatives, and one
ordinary backward through it gives the multipliers of the input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.autograd.graph import Node
from torch.overrides import TorchFunctionMode


class Call:
    """A call of a torch function by the network."""

    def __init__(self, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.name, self.function, self.args, self.kwargs = name, function, args, kwargs
        self.x: Tensor = args[0]
        self.in_place = False

    def value(self) -> Any:
        """What the function gives, outside the graph; what it would do in place is done to a copy."""
        copy = self.x.detach().clone()
        with torch.no_grad():
            result = self.function(copy, *self.args[1:], **self.kwargs)
        self.in_place = result is copy
        return result

    def of(self, x: Tensor) -> Any:
        """The function of something else, in the graph."""
        return self.function(x, *self.args[1:], **self.kwargs)


Rule: TypeAlias = Callable[[Call], Any]
"""What a call gives, in the graph; NotImplemented leaves it to torch."""

_SAME = {"iadd": "add", "radd": "add", "imul": "mul", "rmul": "mul", "multiply": "mul", "clip": "clamp"}


class Rules(TorchFunctionMode):
    """Inside, the functions of torch that have a rule follow it: as a module, functional, method or operator.

    rules: by the name of the function, without underscores. Nothing of the network is changed, and only the
    thread that opened the block is seen. given: from the name of a function and its arguments (positional, keyword)
    to those that it is to get in their place. hidden: names of the functions without a rule that worked in place on
    a part of a tensor, of which the graph does not tell.
    """

    def __init__(self, rules: Mapping[str, Rule], given: Callable[[str, Any], Any] | None = None) -> None:
        super().__init__()
        self._rules = rules
        self._given = given
        self.hidden: set[str] = set()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", "").strip("_")
        name = _SAME.get(name, name)
        if self._given is not None:
            own = args[0] if args else None
            args, kwargs = self._given(name, (args, kwargs))
            result = self._result(name, func, args, kwargs)
            # Worked in place on what stood for its first argument.
            return own.copy_(result) if own is not None and own is not args[0] and result is args[0] else result
        return self._result(name, func, args, kwargs)

    def _result(self, name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any] | None) -> Any:
        rule = self._rules.get(name)
        if not args or not isinstance(args[0], Tensor):
            return func(*args, **(kwargs or {}))
        if rule is None:
            before = args[0]._version
            result = func(*args, **(kwargs or {}))
            # By its version, as some give back what they were given: a dropout that is off, contiguous().
            if args[0]._version != before and args[0]._is_view():
                self.hidden.add(name)
            return result
        call = Call(name, func, args, kwargs or {})
        result = rule(call)
        if result is NotImplemented:
            return func(*args, **(kwargs or {}))
        if call.in_place:
            return args[0].copy_(result)
        return result


class RuleFunction(torch.autograd.Function):
    """What stands in the graph for a call that followed a rule."""


def is_own(node: Node) -> bool:
    """Whether a node of a graph was made by a rule, and not by torch or by the network's own functions."""
    return issubclass(getattr(node, "_forward_cls", object), RuleFunction)


def is_foreign(node: Node) -> bool:
    """Whether a node of a graph was made by a function of the network's own, whose derivative may be anything."""
    return hasattr(node, "_forward_cls") and not is_own(node)


def local(stand_in: Tensor, value: Tensor, factor: Tensor | None = None) -> Tensor:
    """`value`, from which the gradient goes on to `stand_in`, a tensor of its shape, times `factor`."""
    result: Tensor = Local.apply(stand_in, value, factor)
    return result


class Local(RuleFunction):
    """See `local`."""

    @staticmethod
    def forward(ctx: Any, stand_in: Tensor, value: Tensor, factor: Tensor | None) -> Tensor:
        ctx.save_for_backward(*(() if factor is None else (factor,)))
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = gradients
        factors = ctx.saved_tensors
        return gradient * factors[0] if factors else gradient, None, None


def ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """The quotient, and 0 where the denominator is 0."""
    return torch.where(denominator == 0, 0, numerator / torch.where(denominator == 0, 1, denominator))
