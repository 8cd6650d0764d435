"""Curves of what a network says while pixels go and come: bands of words, a table, and small plots side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from viztool.render.canvas import Canvas, stack
from viztool.render.colormaps import Picture
from viztool.render.heading import draw_heading
from viztool.render.numbers import number
from viztool.render.parts import MARGIN, WIDTH, blank_page, draw_footer
from viztool.render.text import BODY, HEADING, RULE, SMALL, TINY, Color, fit, text_width

Values = npt.NDArray[np.float64]

_PLOT = (176, 198)  # height × width of a plot's inside
_GAP = 48  # between plots: room for the numbers of the scale
_PICTURE = 176
_TOP = 74  # of a band, above the plots
_BELOW = 46
_ROW = 25
_WIDEST_GAP = 36
_GRID = (240, 242, 244)
BLUE: Color = (33, 102, 172)
ORANGE: Color = (196, 106, 28)
CHANCE: Color = (150, 155, 160)


@dataclass(frozen=True)
class Line:
    """values: (S,) at the shares of the pixels, (S,) in [0, 1]. spread: (S,), a band on both sides; or none."""

    shares: Values
    values: Values
    color: Color
    spread: Values | None = None


@dataclass(frozen=True)
class Panel:
    """One plot. keys: words in their colours, that tell what its lines are. axis: what the shares are of."""

    title: str
    keys: Sequence[tuple[str, Color]]
    axis: str
    lines: Sequence[Line]


@dataclass(frozen=True)
class CurveBand:
    """One image or one method. picture: beside the table, or none. table: rows of cells, the first of them headings."""

    title: str
    subtitle: str
    table: Sequence[Sequence[str]]
    panels: Sequence[Panel]
    picture: Picture | None = None


@dataclass(frozen=True)
class CurveSheet:
    """All plots have the same scale, from 0 to the largest value of any."""

    title: str
    subtitle: str
    notes: Sequence[str]
    bands: Sequence[CurveBand]
    footer: str


def curve_sheet(sheet: CurveSheet) -> Canvas:
    """Draw the sheet."""
    top = _scale_end(max(_largest(line) for band in sheet.bands for panel in band.panels for line in panel.lines))
    bands = [_draw_band(band, top) for band in sheet.bands]
    return stack([draw_heading(sheet.title, sheet.subtitle, sheet.notes), *bands, draw_footer(sheet.footer)])


def _draw_band(band: CurveBand, top: float) -> Canvas:
    height, width = _PLOT
    plots = len(band.panels) * (width + _GAP)
    table_height = _ROW * len(band.table)
    page = blank_page(_TOP + max(height + _BELOW, table_height) + 10)
    page.line((MARGIN, 0), (WIDTH - MARGIN - 1, 0), RULE)

    words = WIDTH - 2 * MARGIN - plots
    title = fit(band.title, words, HEADING)
    page.text(title, MARGIN, 36, HEADING)
    page.text(fit(band.subtitle, words, SMALL), MARGIN, 57, SMALL)
    x = MARGIN
    if band.picture is not None:
        x += _draw_picture(page, band.picture, MARGIN, _TOP + 4) + 28
    _draw_table(page, band.table, x, _TOP + 14, WIDTH - MARGIN - plots - 20 - x)
    for index, panel in enumerate(band.panels):
        x = WIDTH - MARGIN - plots + index * (width + _GAP) + _GAP
        _draw_panel(page, panel, x, _TOP + 4, top)
    return page


def _draw_picture(page: Canvas, picture: Picture, x: int, y: int) -> int:
    """The picture, fitted into its square place; returns how wide it came out."""
    h, w = (int(side) for side in picture.shape[:2])
    scale = _PICTURE / max(h, w)
    h, w = max(1, round(h * scale)), max(1, round(w * scale))
    page.picture(x, y, picture, (h, w), smooth=True)
    page.frame(x, y, w, h, RULE)
    return w


def _draw_table(page: Canvas, table: Sequence[Sequence[str]], x: int, y: int, width: int) -> None:
    """The first column at the left, the others at the right ends of equal shares of what is left of the width."""
    first = max(text_width(row[0], BODY) for row in table) + 12
    others = max(1, len(table[0]) - 1)
    wide = [max(text_width(row[column], BODY) for row in table) for column in range(1, len(table[0]))]
    spare = min((width - first - sum(wide)) // others, _WIDEST_GAP)
    for index, row in enumerate(table):
        baseline = y + index * _ROW
        page.text(row[0], x, baseline, TINY if index == 0 else BODY)
        right = x + first
        for column, cell in enumerate(row[1:]):
            right += wide[column] + spare
            style = TINY if index == 0 else BODY if column == 0 else SMALL
            page.text(cell, right, baseline, style, "right")


def _draw_panel(page: Canvas, panel: Panel, x: int, y: int, top: float) -> None:
    height, width = _PLOT
    page.text(panel.title, x, y - 42, BODY)
    _draw_keys(page, panel.keys, x, y - 22)
    for share in (0.0, 0.5, 1.0):
        level = y + round((1 - share) * (height - 1))
        page.line((x, level), (x + width - 1, level), RULE if share == 0 else _GRID)
        page.text(number(share * top, ".2g"), x - 7, level + 4, TINY, "right")
    below = y + height + 17
    page.text("0", x, below, TINY)
    page.text(panel.axis, x + width // 2, below, TINY, "center")
    page.text("100 %", x + width, below, TINY, "right")

    def points(shares: Values, values: Values) -> Values:
        across = x + shares * (width - 1)
        down = y + (1 - np.clip(values / top, 0, 1)) * (height - 1)
        return np.stack([across, down], 1)

    for line in panel.lines:
        if line.spread is not None:
            upper = points(line.shares, line.values + line.spread)
            lower = points(line.shares, line.values - line.spread)
            page.area(np.concatenate([upper, lower[::-1]]), line.color)
    for line in panel.lines:
        page.curve(points(line.shares, line.values), line.color, 1 if line.color == CHANCE else 2)


def _draw_keys(page: Canvas, keys: Sequence[tuple[str, Color]], x: int, baseline: int) -> None:
    for word, color in keys:
        page.text(word, x, baseline, SMALL.with_color(color))
        x += text_width(word, SMALL) + 14


def _largest(line: Line) -> float:
    high = line.values if line.spread is None else line.values + line.spread
    return float(np.nanmax(high, initial=0.0))


def _scale_end(largest: float) -> float:
    """The next round number: 1, 2, 4, 6 or 8 times a power of ten."""
    if not largest > 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(largest))
    return float(next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= largest * 0.999))
