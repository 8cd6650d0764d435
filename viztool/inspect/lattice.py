"""Which input pixels the units along one dim of a tensor see: the algebra of receptive fields, without torch.

Along one dim the fields of a convolutional layer's units are the same interval, shifted by a fixed step.
After upsampling by k they are k intervals in turn (nearest: units 0 and 1 see the same pixels), which
repeat with a shift. So a `Lattice` holds one period of intervals and the shift, in whole pixels, and what
an operation does to it is exact. Pixels are counted as if the picture went on forever: padding makes
units before unit 0, and fields begin at negative pixels. (Araujo, Norris & Sim 2019, "Computing Receptive
Fields of Convolutional Neural Networks", give the closed form for period 1.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, inf, lcm

_LONGEST_PERIOD = 4096
"""Resizing by 427/1199 gives a period of 1199; what repeats later than this is no lattice in practice."""


@dataclass(frozen=True, slots=True)
class Windows:
    """Which units of the dim before it each unit of a dim is computed from.

    Unit k·len(units) + r is computed from the units `units[r]`, in rising order, each plus k·step.
    """

    units: tuple[Sequence[int], ...]
    step: int


@dataclass(frozen=True, slots=True)
class Lattice:
    """The fields of the units along one dim.

    Unit k·period + r sees, along spatial axis `axis` of the input, the pixels from first[r] + k·step up
    to end[r] + k·step, which is not included. A unit that sees nothing has the interval (inf, −inf).
    """

    axis: int
    first: tuple[float, ...] = (0,)
    end: tuple[float, ...] = (1,)
    step: int = 1

    @property
    def size(self) -> int:
        """Pixels in the field of the unit that sees most."""
        return int(max(self.end[r] - self.first[r] for r in self._seeing()))

    @property
    def stride(self) -> Fraction:
        """Pixels from one unit to the next, on average over a period."""
        return Fraction(self.step, len(self.first))

    @property
    def offset(self) -> Fraction:
        """First pixel of unit 0, if all fields had the greatest size and stood in the middle of their own."""
        seeing = self._seeing()
        centres = sum((Fraction(self.first[r] + self.end[r]) / 2 - self.stride * r for r in seeing), Fraction(0))
        return centres / len(seeing) - Fraction(self.size, 2)

    def span(self, unit: int) -> tuple[float, float]:
        """The pixels that this unit sees: the first, and one past the last."""
        period, r = divmod(unit, len(self.first))
        shift = period * self.step
        return self.first[r] + shift, self.end[r] + shift

    def through(self, windows: Windows) -> Lattice | None:
        """The fields of units that are computed from these; None if they see nothing at all or never repeat."""
        if windows.step == 0:
            return None
        if len(self.first) == 1 and len(windows.units) == 1:  # nearly always: a plain convolution or pooling
            taps = windows.units[0]
            first, end = self.first[0] + self.step * taps[0], self.end[0] + self.step * taps[-1]
            return Lattice(self.axis, (first,), (end,), self.step * windows.step)
        period = len(self.first)
        repeats = period // gcd(period, windows.step)
        if repeats * len(windows.units) > _LONGEST_PERIOD:
            return None
        spans = [
            self._hull([tap + repeat * windows.step for tap in taps])
            for repeat in range(repeats)
            for taps in windows.units
        ]
        return self._shortest(spans, repeats * windows.step // period * self.step)

    def union(self, other: Lattice) -> Lattice | None:
        """The fields of units that are computed from one unit of each; None if their strides differ."""
        own, others = len(self.first), len(other.first)
        if self.axis != other.axis or self.step * others != other.step * own:
            return None
        if own == others == 1:
            first, end = min(self.first[0], other.first[0]), max(self.end[0], other.end[0])
            return Lattice(self.axis, (first,), (end,), self.step)
        period = lcm(own, others)
        if period > _LONGEST_PERIOD:
            return None
        spans = [_hull([self.span(unit), other.span(unit)]) for unit in range(period)]
        return self._shortest(spans, self.step * period // own)

    def _seeing(self) -> list[int]:
        return [r for r, first in enumerate(self.first) if first < self.end[r]]

    def _hull(self, units: Sequence[int]) -> tuple[float, float]:
        return _hull([self.span(unit) for unit in units])

    def _shortest(self, spans: list[tuple[float, float]], step: int) -> Lattice | None:
        """The lattice of these intervals with the shortest period that describes it."""
        if all(first >= end for first, end in spans):
            return None
        period = next(p for p in range(1, len(spans) + 1) if _repeats(spans, p, step))
        first, end = zip(*spans[:period], strict=True)
        return Lattice(self.axis, first, end, step * period // len(spans))


def _hull(spans: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return min((first for first, _ in spans), default=inf), max((end for _, end in spans), default=-inf)


def _repeats(spans: list[tuple[float, float]], period: int, step: int) -> bool:
    if len(spans) % period or step * period % len(spans):
        return False
    shift = step * period // len(spans)
    return all(
        (first + shift, end + shift) == after for (first, end), after in zip(spans, spans[period:], strict=False)
    )


@dataclass(frozen=True, slots=True)
class Whole:
    """Every unit along this dim sees the whole of the input's axis: a global pooling."""

    axis: int


@dataclass(frozen=True, slots=True)
class Mixed:
    """The units along this dim see different parts of the input's axes, but on no lattice that is known.

    Axes that were flattened together, rolled, shuffled or gathered.
    """

    axes: frozenset[int]


@dataclass(frozen=True, slots=True)
class Within:
    """The places inside blocks of units, whose own dim is another one and holds what a whole block sees.

    So it is when a dim is split in two to make channels of a part of it (space to depth).
    """

    axis: int


Dim = Lattice | Whole | Mixed | Within | None
"""What the units along one dim of a tensor see; None where all see the same, as along channels."""
