"""Strips: one map after another, each with its name and a line of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from viztool.render.canvas import Canvas, stack
from viztool.render.colormaps import Picture
from viztool.render.heading import draw_heading
from viztool.render.parts import MARGIN, WIDTH, blank_page, draw_footer
from viztool.render.text import BODY, HEADING, RULE, SMALL, TINY, fit

_COLUMNS = 8
_GAP = 14
_SIDE = (WIDTH - 2 * MARGIN - (_COLUMNS - 1) * _GAP) // _COLUMNS
_CAPTION = 54


@dataclass(frozen=True)
class StripTile:
    """name and line stand under the picture, (h, w, 3)."""

    name: str
    line: str
    picture: Picture


@dataclass(frozen=True)
class Strip:
    """One image."""

    title: str
    subtitle: str
    tiles: Sequence[StripTile]


@dataclass(frozen=True)
class StripSheet:
    """Strips below one another, under what they show."""

    title: str
    subtitle: str
    notes: Sequence[str]
    strips: Sequence[Strip]
    footer: str


def strip_sheet(sheet: StripSheet) -> Canvas:
    """Draw the sheet."""
    return stack(
        [
            draw_heading(sheet.title, sheet.subtitle, sheet.notes),
            *map(draw_strip, sheet.strips),
            draw_footer(sheet.footer),
        ]
    )


def draw_strip(strip: Strip) -> Canvas:
    """Draw one strip."""
    h, w = strip.tiles[0].picture.shape[:2]
    scale = _SIDE / max(h, w)
    size = max(1, round(h * scale)), max(1, round(w * scale))
    rows = -(-len(strip.tiles) // _COLUMNS)
    page = blank_page(64 + rows * (size[0] + _CAPTION) + 6)
    page.line((MARGIN, 0), (WIDTH - MARGIN - 1, 0), RULE)
    page.text(fit(strip.title, WIDTH - 2 * MARGIN, HEADING), MARGIN, 32, HEADING)
    page.text(fit(strip.subtitle, WIDTH - 2 * MARGIN, SMALL), MARGIN, 52, SMALL)
    for index, tile in enumerate(strip.tiles):
        y = 66 + index // _COLUMNS * (size[0] + _CAPTION)
        x = MARGIN + index % _COLUMNS * (_SIDE + _GAP)
        page.picture(x, y, tile.picture, size, smooth=True)
        page.frame(x, y, size[1], size[0], RULE)
        page.text(fit(tile.name, _SIDE, BODY), x, y + size[0] + 19, BODY)
        page.text(fit(tile.line, _SIDE, TINY), x, y + size[0] + 35, TINY)
    return page
