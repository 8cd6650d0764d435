"""The part of the input that one unit of a layer can see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from viztool.inspect.lattice import Lattice, Whole
from viztool.render.numbers import number


@dataclass(frozen=True)
class ReceptiveField:
    """The theoretical receptive field of a layer's units, in pixels of the network's input.

    One number for each spatial axis: (height, width) for pictures, (time, height, width) for clips.

    Unit i along an axis sees the pixels from offset + stride·i up to offset + stride·i + size, which is not
    included. Under padding the offset is negative: the field of a unit at the border reaches over the
    edge. After upsampling the stride may be a fraction, and neighbouring units see fields of different
    sizes: then `size` is the greatest, and the place is right on average. `spans` has each unit's own.

    global_context: every unit also depends on pixels outside its field, through global pooling, a
        squeeze-and-excitation gate or a norm over positions.
    everything: there is no more to it than that: behind global pooling a unit sees the whole input. Size and
        stride are then those of the input, and the offset is 0.
    """

    size: tuple[int, ...]
    stride: tuple[float, ...]
    offset: tuple[float, ...]
    global_context: bool = False
    everything: bool = False
    _axes: tuple[Lattice | Whole, ...] = field(default=(), repr=False, compare=False)

    def spans(self, unit: Sequence[int]) -> tuple[tuple[float, float], ...]:
        """What one unit sees along each axis: the first pixel, and one past the last; beyond the edge under padding.

        unit: its place in the layer's map, such as (row, column). Of one that reaches over the edge of a map on the
        way it may be wider than what there is to see: padding counts as part of a picture that goes on.
        """
        return tuple(
            axis.span(int(at)) if isinstance(axis, Lattice) else (first, first + size)
            for axis, at, first, size in zip(self._axes, unit, self.offset, self.size, strict=True)
        )

    @property
    def axes(self) -> tuple[Lattice | Whole, ...]:
        """The same along each axis, exact for each unit."""
        return self._axes

    def __str__(self) -> str:
        """One line: "91 × 91, stride 8 × 8, from −41, −41"."""
        if self.everything:
            return "everything"
        text = f"{_joined(self.size, ' × ')}, stride {_joined(self.stride, ' × ')}, from {_joined(self.offset, ', ')}"
        return f"{text} + context" if self.global_context else text

    @property
    def numbers(self) -> dict[str, Any]:
        return {
            "size": list(self.size),
            "stride": list(self.stride),
            "offset": list(self.offset),
            "global_context": self.global_context,
            "everything": self.everything,
        }


def receptive_field(axes: Sequence[Lattice | Whole], extents: Sequence[int], *, context: bool) -> ReceptiveField:
    """The field of units on these lattices, one per axis of an input that is `extents` pixels large."""
    lattices = [(axis, extent) for axis, extent in zip(axes, extents, strict=True)]
    return ReceptiveField(
        size=tuple(axis.size if isinstance(axis, Lattice) else extent for axis, extent in lattices),
        stride=tuple(_plain(axis.stride) if isinstance(axis, Lattice) else extent for axis, extent in lattices),
        offset=tuple(_plain(axis.offset) if isinstance(axis, Lattice) else 0 for axis, _ in lattices),
        global_context=context,
        everything=all(isinstance(axis, Whole) for axis in axes),
        _axes=tuple(axes),
    )


def _plain(value: Fraction) -> float:
    return int(value) if value.denominator == 1 else float(value)


def _joined(numbers: Sequence[float], between: str) -> str:
    return between.join(number(each) for each in numbers)
