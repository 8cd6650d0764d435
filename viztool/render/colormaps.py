"""Numbers to colours.

Zero-centred: white is zero, red is positive, blue is negative, and more is always darker. Heat, for maps that are
never negative and lie over a photo: from dark to bright.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import numpy.typing as npt
from matplotlib import colormaps

from viztool.render.scaling import scaled

Picture = npt.NDArray[np.uint8]
Map = npt.NDArray[np.float32]

_ZERO_CENTRED = "RdBu_r"
_HEAT = "inferno"
NOT_A_NUMBER = (196, 160, 210)
"""Colour of values that are NaN or infinite: one that no number has."""
_HEAT_LEAST, _HEAT_MOST = 0.2, 0.7  # of the heat over a photo, where there is none, and where it is greatest
_HEAT_LIGHTENED, _LIGHTENED = 0.75, 0.55  # of the photo's darkness stays below a map: colours must show on black, too
_COVERED = 0.85  # of the photo, by the colour of the largest value
_RELIEF = 0.45  # of the photo's light and shade is put onto the colour that covers it: one must see what lies there


@cache
def _table() -> Picture:
    """(511, 3) RGB: the colours of −1 … 0 … 1, with zero exactly in the middle and exactly white."""
    colours = colormaps[_ZERO_CENTRED](np.linspace(0, 1, 511))[:, :3]
    # The map's own middle is a light grey; the page is white, and so is nothing.
    towards_white = 1 - np.abs(np.linspace(-1, 1, 511))[:, None] ** 0.25
    return np.rint(255 * (colours + (1 - colours) * towards_white)).astype(np.uint8)


@cache
def _heat_table() -> Picture:
    """(256, 3) RGB: the colours of 0 … 1."""
    table: Picture = np.rint(255 * colormaps[_HEAT](np.linspace(0, 1, 256))[:, :3]).astype(np.uint8)
    return table


def colorize(values: Map, limit: float, *, heat: bool = False) -> Picture:
    """Colours of `values` (..., any shape) on the scale −limit … 0 … limit; RGB in a new last axis.

    heat: on the scale 0 … limit, from dark to bright. Values beyond the limit have its colour. A limit of zero
    gives all of them the colour of zero.
    """
    finite = np.isfinite(values)
    place = np.zeros(values.shape, np.float32)
    if limit > 0:
        np.divide(values, limit, out=place, where=finite)
    np.clip(place, 0 if heat else -1, 1, out=place)
    place *= 255
    if not heat:
        place += 255
    # `take` and not brackets: on three bytes a colour it is three times as fast.
    picture: Picture = (_heat_table() if heat else _table()).take(np.rint(place, out=place).astype(np.intp), axis=0)
    if not finite.all():
        picture[~finite] = NOT_A_NUMBER
    return picture


def color_bar(width: int, height: int, *, signed: bool, overlaid: bool = False, heat: bool = False) -> Picture:
    """The scale of `colorize`, or of `overlay`, from left to right: −limit … limit, or 0 … limit."""
    values = np.tile(np.linspace(-1 if signed else 0, 1, width, dtype=np.float32), (height, 1))
    if overlaid:
        return overlay(values, 1.0, np.full((height, width, 3), 128, np.uint8), heat=heat)
    return colorize(values, 1.0, heat=heat)


def overlay(values: Map, limit: float, photo: Picture, *, heat: bool = False) -> Picture:
    """A map (h, w) laid over a photo (H, W, 3) in grey: red or blue the further it is from zero; or heat."""
    smooth = scaled(values, (photo.shape[0], photo.shape[1]), smooth=True)
    strength = np.zeros(smooth.shape, np.float32)
    if limit > 0:
        strength += np.clip(np.abs(np.nan_to_num(smooth)) / limit, 0, 1)
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    if heat:
        share = _HEAT_LEAST + (_HEAT_MOST - _HEAT_LEAST) * strength[..., None]
        light = _lightened(grey, _HEAT_LIGHTENED)
        hot: Picture = np.rint(light * (1 - share) + colorize(strength, 1.0, heat=True) * share).astype(np.uint8)
        return hot
    light = _lightened(grey, _LIGHTENED)
    # One deep colour for each sign, and the value in how much of it there is: a pale one, laid over a dark
    # part of the photo, would draw an edge at zero that the map does not have.
    colour = colorize(np.sign(smooth), 1 / 0.8) + _RELIEF * (light - _lightened(np.float32(128), _LIGHTENED))
    share = _COVERED * strength[..., None]
    mixed: Picture = np.rint(light * (1 - share) + colour * share).clip(0, 255).astype(np.uint8)
    return mixed


def _lightened(grey: Map | np.float32, kept: float) -> Map:
    """With this share of its darkness."""
    return np.asarray(255 - kept * (255 - grey), np.float32)
