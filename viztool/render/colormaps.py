"""Numbers to colours: white is zero, red is positive, blue is negative, and more is always darker."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import numpy.typing as npt
from matplotlib import colormaps

Picture = npt.NDArray[np.uint8]
Map = npt.NDArray[np.float32]

_ZERO_CENTRED = "RdBu_r"
NOT_A_NUMBER = (196, 160, 210)
"""Colour of values that are NaN or infinite: one that no number has."""


@cache
def _table() -> Picture:
    """(511, 3) RGB: the colours of −1 … 0 … 1, with zero exactly in the middle and exactly white."""
    colours = colormaps[_ZERO_CENTRED](np.linspace(0, 1, 511))[:, :3]
    # The map's own middle is a light grey; the page is white, and so is nothing.
    towards_white = 1 - np.abs(np.linspace(-1, 1, 511))[:, None] ** 0.25
    return np.rint(255 * (colours + (1 - colours) * towards_white)).astype(np.uint8)


def colorize(values: Map, limit: float) -> Picture:
    """Colours of `values` (..., any shape) on the scale −limit … 0 … limit; RGB in a new last axis.

    Values beyond the limit have its colour. A limit of zero makes all of them white.
    """
    finite = np.isfinite(values)
    scaled = np.zeros(values.shape, np.float32)
    if limit > 0:
        np.divide(values, limit, out=scaled, where=finite)
    picture = _table()[np.rint(np.clip(scaled, -1, 1) * 255 + 255).astype(np.int32)]
    picture[~finite] = NOT_A_NUMBER
    return picture


def color_bar(width: int, height: int, *, signed: bool) -> Picture:
    """The scale of `colorize` from left to right: −limit … limit, or 0 … limit if nothing is negative."""
    values = np.linspace(-1 if signed else 0, 1, width, dtype=np.float32)
    return np.repeat(colorize(values, 1.0)[None], height, axis=0)


def overlay(values: Map, limit: float, photo: Picture) -> Picture:
    """A map (h, w) laid over a photo (H, W, 3): grey where it is zero, the more of its colour the further from it."""
    h, w = photo.shape[:2]
    smooth = cv2.resize(values, (w, h), interpolation=cv2.INTER_LINEAR if values.shape[0] < h else cv2.INTER_AREA)
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    light = 255 - 0.7 * (255 - grey)
    strength = np.clip(np.abs(np.nan_to_num(smooth)) / limit, 0, 1) if limit > 0 else np.zeros((h, w))
    share = 0.8 * np.sqrt(strength)[..., None]
    return np.rint(light * (1 - share) + colorize(smooth, limit) * share).astype(np.uint8)
