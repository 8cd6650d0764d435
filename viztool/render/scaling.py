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
    shrinks = values.shape[0] >= height and values.shape[1] >= width
    larger = cv2.INTER_LINEAR if smooth else cv2.INTER_NEAREST
    return cast(A, cv2.resize(values, (width, height), interpolation=cv2.INTER_AREA if shrinks else larger))
