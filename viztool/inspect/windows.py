"""The windows of each kind of layer along one axis: which units of its input a unit is computed from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import lru_cache
from math import ceil, floor

from viztool.inspect.lattice import Windows


@lru_cache(maxsize=256)
def sliding(kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> Windows:
    """A convolution or pooling; `padding` is that before the first unit."""
    return Windows((range(-padding, dilation * (kernel - 1) - padding + 1, dilation),), stride)


@lru_cache(maxsize=256)
def transposed(kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> Windows:
    """A transposed convolution: tap t carries unit i to the unit i·stride + t·dilation − padding."""
    reached = [[unit + padding - dilation * tap for tap in reversed(range(kernel))] for unit in range(stride)]
    return Windows(tuple(tuple(at // stride for at in row if at % stride == 0) for row in reached), 1)


def shifted(start: int, step: int = 1) -> Windows:
    """A slice; a negative start is padding."""
    return Windows(((start,),), step)


@lru_cache(maxsize=256)
def adaptive(before: int, after: int) -> Windows:
    """Adaptive pooling from `before` to `after` units: cell i is floor(i·r) to ceil((i + 1)·r), r their ratio."""
    ratio = Fraction(before, after)
    return _periodic(ratio, lambda unit: range(floor(unit * ratio), ceil((unit + 1) * ratio)))


@lru_cache(maxsize=256)
def nearest(ratio: Fraction) -> Windows:
    """Nearest-neighbour resizing; `ratio` is units before per unit after."""
    return _periodic(ratio, lambda unit: (floor(unit * ratio),))


@lru_cache(maxsize=256)
def nearest_exact(ratio: Fraction) -> Windows:
    """Nearest-neighbour resizing from pixel centres."""
    return _periodic(ratio, lambda unit: (floor((unit + Fraction(1, 2)) * ratio),))


@lru_cache(maxsize=256)
def interpolated(ratio: Fraction, *, cubic: bool, align_corners: bool) -> Windows:
    """Linear or cubic resizing: the 2 or 4 units around a point, or the one it falls upon."""

    def taps(unit: int) -> range:
        point = unit * ratio if align_corners else (unit + Fraction(1, 2)) * ratio - Fraction(1, 2)
        before = floor(point)
        if point == before:
            return range(before, before + 1)
        return range(before - 1, before + 3) if cubic else range(before, before + 2)

    return _periodic(ratio, taps)


def _periodic(ratio: Fraction, taps: Callable[[int], Sequence[int]]) -> Windows:
    return Windows(tuple(taps(unit) for unit in range(ratio.denominator)), ratio.numerator)
