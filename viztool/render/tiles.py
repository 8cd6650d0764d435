"""One map as one tile of a sheet."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from viztool.render.colormaps import Map, Picture, colorize, overlay
from viztool.render.scaling import scaled
from viztool.render.text import GREY, RULE, SMALL, draw_text

_BLANK = (246, 247, 248)


@dataclass(frozen=True)
class Tile:
    """values: (h, w). limit: the value with the darkest colour. mark: said in place of a map that shows nothing.

    label stands under the tile, and score beside it where there is room.
    """

    values: Map
    limit: float
    label: str
    score: str = ""
    mark: str | None = None


def draw_tile(tile: Tile, size: tuple[int, int], photo: Picture | None = None) -> Picture:
    """The tile at this (height, width), with a hairline round it; over the photo, if one is given."""
    h, w = size
    if tile.mark is not None:
        picture = np.full((h, w, 3), _BLANK, np.uint8)
        cv2.line(picture, (0, h - 1), (w - 1, 0), RULE, 1, cv2.LINE_AA)
        if w >= 80:
            draw_text(picture, tile.mark, w // 2, h // 2 + 5, SMALL.with_color(GREY), "center")
    elif photo is not None:
        picture = overlay(tile.values, tile.limit, scaled(photo, size))
    else:
        picture = colorize(scaled(tile.values, size), tile.limit)
    cv2.rectangle(picture, (0, 0), (w - 1, h - 1), RULE, 1)
    return picture
