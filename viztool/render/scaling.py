"""Arrays at another size."""

from __future__ import annotations

from typing import Any, TypeVar, cast

import cv2
import numpy.typing as npt

A = TypeVar("A", bound=npt.NDArray[Any])


def scaled(values: A, size: tuple[int, int], *, smooth: bool = False) -> A:
    """`values` (h, w) or (h, w, C) at this (height, width).

    Smaller: areas are averaged. Larger: each value stays a plain cell, as nothing lies between units of a
    layer; or, if it is to look smooth, what lies between is interpolated.
    """
    height, width = size
    larger = cv2.INTER_LINEAR if smooth else cv2.INTER_NEAREST
    way = cv2.INTER_AREA if shrinks(values, size) else larger
    return cast(A, cv2.resize(values, (width, height), interpolation=way))


def shrinks(values: npt.NDArray[Any], size: tuple[int, int]) -> bool:
    """Whether `scaled` averages areas for this (height, width), and does not only repeat cells."""
    return bool(values.shape[0] >= size[0] and values.shape[1] >= size[1])
