"""The attribution methods there are, and how one is added."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import Tensor

from viztool.errors import ViztoolError
from viztool.registry import Registry

Compute: TypeAlias = Callable[..., Tensor]
"""From a `Question`, the baseline where the method takes one, and options by keyword, to a tensor of the input's
shape, or to maps (N, H, W)."""


@dataclass(frozen=True)
class AttributionMethod:
    """A pixel attribution. signed: whether it tells for from against. unit: of the map.

    baseline: whether it compares with an input that shows nothing. seeded: whether it draws random numbers.
    through: whether it can be sent through single units alone.
    """

    name: str
    title: str
    paper: str
    compute: Compute
    unit: str
    signed: bool
    baseline: bool
    seeded: bool
    through: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """The options of this method alone, with their defaults."""
        parameters = inspect.signature(self.compute).parameters.values()
        return {one.name: one.default for one in parameters if one.kind is one.KEYWORD_ONLY}

    def with_options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All options, as given or by default.

        Raises ViztoolError for one that the method does not have, or that is of another type.
        """
        options = self.options
        parameters = inspect.signature(self.compute).parameters
        for name, value in given.items():
            if name not in options:
                raise ViztoolError(f"{self.name} has no option {name!r}; it has {', '.join(options) or 'none'}")
            types, words = _TYPES[str(parameters[name].annotation).removesuffix(" | None")]
            if (value is not None or options[name] is not None) and not isinstance(value, types):
                raise ViztoolError(f"{name} is {value!r}; give {words}")
        return {**options, **given}


_TYPES: dict[str, tuple[type | tuple[type, ...], str]] = {
    "int": (int, "a whole number"),
    "float": ((int, float), "a number"),
    "str": (str, "a name"),
}
"""What an option's annotation asks for."""

_methods = Registry[AttributionMethod]("attribution")


def method(
    name: str,
    title: str,
    paper: str,
    *,
    unit: str,
    signed: bool = True,
    baseline: bool = False,
    seeded: bool = False,
    through: bool = False,
) -> Callable[[Compute], Compute]:
    """Add a method: see `Compute`; its options are keyword-only."""

    def add(compute: Compute) -> Compute:
        _methods.add(name, AttributionMethod(name, title, paper, compute, unit, signed, baseline, seeded, through))
        return compute

    return add


names = _methods.names
find = _methods.find


def require_through(method: AttributionMethod) -> None:
    """Raise ViztoolError for one that cannot be sent through single units alone."""
    if not method.through:
        able = ", ".join(name for name in names() if find(name).through)
        raise ViztoolError(f"{method.name} cannot be sent through one unit; these can: {able}")


def describe(name: str) -> str:
    """A method's title, its paper, and its formula in words and symbols."""
    found = find(name)
    return f"{found.title} ({found.paper})\n{inspect.cleandoc(found.compute.__doc__ or '')}"


def options_of(name: str) -> dict[str, Any]:
    """The options of a method alone, with their defaults."""
    return find(name).options


def at_least(least: int, **option: int) -> None:
    """Raise ViztoolError if an option is smaller than it may be."""
    for name, value in option.items():
        if value < least:
            raise ViztoolError(f"{name} is {value}; give at least {least}")
