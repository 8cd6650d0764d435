"""The methods there are, and how one is added."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal, TypeAlias

from torch import Tensor

from viztool.cam.evidence import Evidence
from viztool.errors import ViztoolError

Compute: TypeAlias = Callable[[Evidence], Tensor]

Gives: TypeAlias = Literal["weights", "map"]


@dataclass(frozen=True)
class Method:
    """A class activation map.

    gives: what `compute` returns: "weights" of the channels, (N, C, 1, 1) or (N, C, h, w), by which the
        activations are multiplied before they are summed over channels; or the "map" itself, (N, h, w).
    relu: whether the definition ends in a ReLU, which the frame applies. signed: whether the map may be
        negative. unit: of the map. whole: whether it is of the whole network and takes no layer. slow: whether
        it runs the network many times for each channel.
    """

    name: str
    title: str
    paper: str
    compute: Compute
    gives: Gives
    relu: bool
    signed: bool
    unit: str
    whole: bool
    slow: bool


_methods: dict[str, Method] = {}


def method(
    name: str,
    title: str,
    paper: str,
    *,
    gives: Gives,
    unit: str,
    relu: bool = False,
    signed: bool = False,
    whole: bool = False,
    slow: bool = False,
) -> Callable[[Compute], Compute]:
    """Add a method: a function from the evidence of a layer to weights or a map; see `Method`."""

    def add(compute: Compute) -> Compute:
        if name in _methods:
            raise ValueError(f"there is a method {name!r} already")
        _methods[name] = Method(name, title, paper, compute, gives, relu, signed, unit, whole, slow)
        return compute

    return add


def names() -> tuple[str, ...]:
    """The names of all methods, in the order in which they were added."""
    return tuple(_methods)


def find(name: str) -> Method:
    """The method of this name. Raises ViztoolError, with the nearest names, if there is none."""
    if name in _methods:
        return _methods[name]
    known = {_plain(other): other for other in _methods}
    close = get_close_matches(_plain(name), known, n=3, cutoff=0.5)
    hint = f"nearest: {', '.join(known[other] for other in close)}" if close else f"there are {', '.join(_methods)}"
    raise ViztoolError(f"no method is called {name!r}; {hint}")


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "").replace(" ", "")


def describe(name: str) -> str:
    """A method's title, its paper, and its formula in words and symbols."""
    found = find(name)
    return f"{found.title} ({found.paper})\n{inspect.cleandoc(found.compute.__doc__ or '')}"
