"""The layout of a view: the axes of a tensor are found again by the steps between their places in memory."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from viztool.tensors.layout import LAST, NO_MAP, SECOND, Layout

Shape = tuple[int, ...]


class Fact(NamedTuple):
    """A tensor of known layout."""

    shape: Shape
    stride: Shape
    layout: Layout


def of_view(fact: Fact, shape: Shape, stride: Shape) -> Layout | None:
    """The layout of a view of a tensor: its axes are found again by their strides. None if they are not."""
    channels = fact.layout.channels
    if channels is None or len(fact.shape) not in (3, 4) or len(shape) not in (3, 4):
        return None
    channels %= len(fact.shape)
    places = [step for axis, step in enumerate(fact.stride) if axis not in (0, channels)]
    if fact.shape[channels] == 1 or len({*places, fact.stride[channels]}) <= len(places):
        return None  # sides of one place have any stride
    found = [axis for axis, step in enumerate(stride) if axis and step == fact.stride[channels]]
    if len(found) != 1:
        return None
    rest = [(shape[axis], stride[axis]) for axis in range(1, len(shape)) if axis != found[0]]
    steps = [step for _, step in rest]
    count = prod(side for side, _ in rest)
    if len(shape) == len(fact.shape):
        if steps != places:
            return NO_MAP if steps == places[::-1] else None  # mirrored at the diagonal
    elif steps[-1] != places[-1] or count != prod(
        side for axis, side in enumerate(fact.shape) if axis not in (0, channels)
    ):
        return None
    if len(shape) == 4:
        if fact.layout.order is not None or found[0] == 2:
            return NO_MAP
        return SECOND if found[0] == 1 else LAST
    return Layout(1 if found[0] == 1 else -1, fact.layout.grid, fact.layout.order)
