"""The methods there are, and how one is added."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from torch import Tensor

from viztool.cam.evidence import Evidence
from viztool.registry import Registry

Compute: TypeAlias = Callable[[Evidence], Tensor]

Gives: TypeAlias = Literal["weights", "map"]


@dataclass(frozen=True)
class CamMethod:
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


_methods = Registry[CamMethod]("method")


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
    """Add a method: a function from the evidence of a layer to weights or a map; see `CamMethod`."""

    def add(compute: Compute) -> Compute:
        _methods.add(name, CamMethod(name, title, paper, compute, gives, relu, signed, unit, whole, slow))
        return compute

    return add


names = _methods.names
find = _methods.find


def describe(name: str) -> str:
    """A method's title, its paper, and its formula in words and symbols."""
    found = find(name)
    return f"{found.title} ({found.paper})\n{inspect.cleandoc(found.compute.__doc__ or '')}"
