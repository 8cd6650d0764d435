"""The size of a picture or of a map, and how alike two of them are in their proportions."""

from __future__ import annotations

from math import inf, log

Size = tuple[int, int]
"""(H, W)."""

_IN_PROPORTION = log(2)
"""Heads and windows of attention, too, are axes beside axes; a network's maps keep the picture's shape."""


def distortion(sides: Size, input_size: Size) -> float:
    """How far the proportions of `sides` are from those of the input: |log ratio|."""
    if min(sides) == 0:
        return inf
    return abs(log(sides[0] / sides[1]) - log(input_size[0] / input_size[1]))


def in_proportion(sides: Size, input_size: Size) -> bool:
    """Whether `sides` may be those of a map of the input, by their proportions: not twice as wide or as high."""
    return distortion(sides, input_size) < _IN_PROPORTION
