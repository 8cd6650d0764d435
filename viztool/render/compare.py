"""Heatmaps of one photo side by side: one tile for each method and target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from viztool.render.canvas import Canvas, stack
from viztool.render.colormaps import Map, Picture
from viztool.render.parts import (
    MARGIN,
    WIDTH,
    blank_page,
    draw_bar,
    draw_box,
    draw_cells,
    draw_footer,
    draw_lines,
    draw_over,
)
from viztool.render.predictions import Predictions
from viztool.render.text import BODY, RULE, SMALL, TINY, TITLE, fit, wrap

_COLUMNS = range(3, 6)  # the fewest, and so the largest tiles, that one row has room for
_GAP = 20
_LINE = 14
_FLAG = TINY.with_color((178, 34, 52))


@dataclass(frozen=True)
class CompareTile:
    """values: (h, w), not normalised, to be drawn up to `limit`. lines: what stands under it, first its name.

    flags: what speaks against it, in red. box: (left, top, right, bottom) in shares of the view. plain: on white, not
    over the view.
    """

    values: Map
    limit: float
    signed: bool
    lines: Sequence[str]
    flags: Sequence[str] = ()
    box: tuple[float, float, float, float] | None = None
    plain: bool = False


@dataclass(frozen=True)
class CompareSheet:
    """view: (H, W, 3), what the network was given. raw: draw cells, not the map over the view."""

    title: str
    subtitle: str
    view: Picture
    predictions: Predictions
    notes: Sequence[str]
    tiles: Sequence[CompareTile]
    raw: bool
    footer: str


def compare_sheet(sheet: CompareSheet) -> Canvas:
    """Draw the sheet."""
    columns = min(max(len(sheet.tiles), _COLUMNS[0]), _COLUMNS[-1])
    rows = [sheet.tiles[start : start + columns] for start in range(0, len(sheet.tiles), columns)]
    drawn = [_draw_row(sheet, row, _side(columns)) for row in rows]
    return stack([_draw_head(sheet), *drawn, draw_footer(sheet.footer)])


def _side(columns: int) -> int:
    return (WIDTH - 2 * MARGIN - (columns - 1) * _GAP) // columns


def _draw_head(sheet: CompareSheet) -> Canvas:
    side = _side(_COLUMNS[-1])
    height, width = _fitted(sheet.view, side)
    page = blank_page(MARGIN + max(height, 200) + 30)
    page.picture(MARGIN, MARGIN, sheet.view, (height, width), smooth=True)
    x, room = MARGIN + side + _GAP, 560
    page.text(fit(sheet.title, room, TITLE), x, MARGIN + 22, TITLE)
    y = draw_lines(page, wrap(sheet.subtitle, room, SMALL), x, MARGIN + 47) + 14
    sheet.predictions.draw(page, x, y, room)

    x = MARGIN + 4 * (side + _GAP) - 90
    y = MARGIN + 11
    for note in sheet.notes:
        y = draw_lines(page, wrap(note, WIDTH - MARGIN - x, SMALL), x, y) + 7
    if any(tile.plain for tile in sheet.tiles):
        draw_bar(page, x, y, 200, signed=False, overlaid=False, ticks=("0", "", "largest |value|"))
        y += 38
    for signed in sorted({tile.signed for tile in sheet.tiles if not tile.plain}):
        ticks = ("negative", "0", "positive") if signed else ("0", "", "largest")
        draw_bar(page, x, y, 200, signed=signed, overlaid=not sheet.raw, ticks=ticks, heat=not signed)
        y += 38
    return page


def _draw_row(sheet: CompareSheet, tiles: Sequence[CompareTile], side: int) -> Canvas:
    height, width = size = _fitted(sheet.view, side)
    captions = [
        [
            *((part, TINY) for line in tile.lines[1:] for part in wrap(line, side, TINY)),
            *((part, _FLAG) for line in tile.flags for part in wrap(line, side, _FLAG)),
        ]
        for tile in tiles
    ]
    page = blank_page(height + 38 + _LINE * max(map(len, captions)))
    for column, (tile, caption) in enumerate(zip(tiles, captions, strict=True)):
        x = MARGIN + column * (side + _GAP)
        heat = not tile.signed
        if tile.plain:
            draw_cells(page, x, 0, size, tile.values, tile.limit)
        elif sheet.raw:
            draw_cells(page, x, 0, size, tile.values, tile.limit, heat=heat)
        else:
            draw_over(page, x, 0, size, tile.values, tile.limit, sheet.view, heat=heat)
        page.frame(x, 0, width, height, RULE)
        if tile.box is not None:
            draw_box(page, x, 0, size, tile.box)
        page.text(fit(tile.lines[0], side, BODY), x, height + 18, BODY)
        for index, (line, style) in enumerate(caption):
            page.text(line, x, height + 34 + _LINE * index, style)
    return page


def _fitted(view: Picture, side: int) -> tuple[int, int]:
    """(height, width) of the view inside a square."""
    h, w = view.shape[:2]
    scale = side / max(h, w)
    return max(1, round(h * scale)), max(1, round(w * scale))
