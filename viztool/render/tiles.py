"""One map as one tile of a sheet."""

from __future__ import annotations

from dataclasses import dataclass

from viztool.render.canvas import Canvas, Size
from viztool.render.colormaps import Map, Picture, overlay
from viztool.render.parts import draw_cells
from viztool.render.scaling import scaled
from viztool.render.text import GREY, RULE, SMALL

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


def draw_tile(tile: Tile, size: Size, photo: Picture | None = None) -> Canvas:
    """The tile at this (height, width), with a hairline round it; over the photo, if one is given."""
    h, w = size
    canvas = Canvas(h, w)
    if tile.mark is not None:
        canvas.fill(0, 0, w, h, _BLANK)
        canvas.line((0, h - 1), (w - 1, 0), RULE, smooth=True)
        if w >= 80:
            canvas.text(tile.mark, w // 2, h // 2 + 5, SMALL.with_color(GREY), "center")
    elif photo is not None:
        own = (int(photo.shape[0]), int(photo.shape[1]))
        canvas.image(0, 0, size, lambda at: overlay(tile.values, tile.limit, scaled(photo, at)), own, smooth=True)
    else:
        draw_cells(canvas, 0, 0, size, tile.values, tile.limit)
    canvas.frame(0, 0, w, h, RULE)
    return canvas
