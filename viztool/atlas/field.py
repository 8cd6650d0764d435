"""The window of the input that each unit of a layer sees, in numbers that can be kept in a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from viztool.inspect.lattice import Lattice, Whole

Box: TypeAlias = tuple[float, float, float, float]
"""Top, left, bottom, right: from a pixel's upper left corner up to another's, which is not included."""

Axes: TypeAlias = tuple[Lattice | Whole, ...] | None
"""As `FieldTracer.axes` gives them; None where nothing is known."""


def to_numbers(axes: Axes) -> list[dict[str, Any]] | None:
    """Ready for JSON."""
    if axes is None:
        return None
    return [
        {"axis": axis.axis, "first": list(axis.first), "end": list(axis.end), "step": axis.step}
        if isinstance(axis, Lattice)
        else {"axis": axis.axis}
        for axis in axes
    ]


def from_numbers(numbers: Sequence[dict[str, Any]] | None) -> Axes:
    """What `to_numbers` was given."""
    if numbers is None:
        return None
    return tuple(
        Lattice(one["axis"], tuple(one["first"]), tuple(one["end"]), one["step"])
        if "step" in one
        else Whole(one["axis"])
        for one in numbers
    )


def field_box(axes: Axes, place: tuple[int, int], size: tuple[int, int]) -> Box:
    """What the unit at (row, column) of a map sees of an input of `size` (h, w), clipped to it.

    All of it if that is not known.
    """
    spans: list[tuple[float, float]] = []
    pair = axes if axes is not None and len(axes) == 2 else (None, None)
    for axis, at, extent in zip(pair, place, size, strict=True):
        first, end = axis.span(at) if isinstance(axis, Lattice) else (0.0, float(extent))
        first, end = max(0.0, first), min(float(extent), end)
        spans.append((first, end) if first < end else (0.0, float(extent)))
    (top, bottom), (left, right) = spans
    return float(top), float(left), float(bottom), float(right)


def in_photo(box: Box, size: tuple[int, int], seen: Box, photo: tuple[int, int]) -> Box:
    """A box in the network's input of `size` as pixels of the photo, (H, W), of which it was given the part `seen`.

    What lies in the padding around the photo is cut off.
    """
    down, across = (seen[2] - seen[0]) / size[0], (seen[3] - seen[1]) / size[1]
    top, left = seen[0] + box[0] * down, seen[1] + box[1] * across
    bottom, right = seen[0] + box[2] * down, seen[1] + box[3] * across
    clip = (min(max(top, 0.0), photo[0]), min(max(left, 0.0), photo[1]))
    return (*clip, max(min(bottom, photo[0]), clip[0]), max(min(right, photo[1]), clip[1]))
