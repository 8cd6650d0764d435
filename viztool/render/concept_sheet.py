"""Rows of concepts: how much rests on each, the crops that hold most of it, where it is; and what is left without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

import numpy as np
import numpy.typing as npt

from viztool.render.canvas import Canvas, stack
from viztool.render.colormaps import Map, Picture
from viztool.render.heading import draw_heading
from viztool.render.numbers import number
from viztool.render.panels import BAD
from viztool.render.parts import LINE, MARGIN, WIDTH, blank_page, draw_footer, draw_lines, draw_over
from viztool.render.plot import BLUE, CHANCE, Curve, Plot
from viztool.render.text import BODY, HEADING, RULE, SMALL, TINY, Color, wrap

_WORDS = 232
_BAR = 150
_TILE = 108
_GAP = 10
_ROW = _TILE + 44
_SHARE: Color = (147, 171, 203)
_ERROR: Color = (70, 78, 86)
_LEGEND = 560
_PLOT = 176


@dataclass(frozen=True, eq=False)
class ConceptRow:
    """One concept. importance, error: a share, and its standard error or None. crops: each with what stands under it.

    view, map: a photo (H, W, 3), and (h, w), how much of the concept there is where. flags: what speaks against it, in
    red.
    """

    title: str
    lines: Sequence[str]
    importance: float
    error: float | None
    crops: Sequence[tuple[Picture, str]]
    view: Picture
    map: Map
    flags: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class ConceptPage:
    """All of it. deletion, insertion: (count + 1,) each, in the order of importance and in random ones."""

    title: str
    subtitle: str
    notes: Sequence[str]
    rows: Sequence[ConceptRow]
    confidence: str
    deletion: Sequence[npt.NDArray[np.float32]]
    insertion: Sequence[npt.NDArray[np.float32]]
    lines: Sequence[str]
    footer: str


def concept_page(page: ConceptPage) -> Canvas:
    """Draw the sheet."""
    longest = max((row.importance + (row.error or 0.0) for row in page.rows), default=0.0)
    rows = [_draw_row(row, longest, index == 0) for index, row in enumerate(page.rows)]
    return stack(
        [draw_heading(page.title, page.subtitle, page.notes), *rows, _draw_orders(page), draw_footer(page.footer)]
    )


def _draw_row(row: ConceptRow, longest: float, first: bool) -> Canvas:
    strip = blank_page(_ROW)
    strip.line((MARGIN, 0), (WIDTH - MARGIN - 1, 0), RULE)
    strip.text(row.title, MARGIN, 34, HEADING)
    y = draw_lines(strip, row.lines, MARGIN, 60)
    for flag in row.flags:
        strip.text(flag, MARGIN, y, SMALL.with_color(BAD))
        y += LINE
    _draw_importance(strip, MARGIN + _WORDS, row, longest, first)
    x = WIDTH - MARGIN - (len(row.crops) + 1) * (_TILE + _GAP)
    for picture, label in row.crops:
        strip.picture(x, 16, picture, (_TILE, _TILE), smooth=True)
        strip.frame(x, 16, _TILE, _TILE, RULE)
        strip.text(label, x, 16 + _TILE + 15, TINY)
        x += _TILE + _GAP
    x += _GAP
    height, width = row.view.shape[:2]
    scale = _TILE / max(height, width)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    most = float(row.map.max())
    draw_over(strip, x, 16, size, row.map, most, row.view, heat=True)
    strip.frame(x, 16, size[1], size[0], RULE)
    strip.text(f"0 to {number(most, '.3g')}", x, 16 + _TILE + 15, TINY)
    return strip


def _draw_importance(strip: Canvas, x: int, row: ConceptRow, longest: float, first: bool) -> None:
    if first:
        strip.text("importance", x, 27, TINY)
    scale = _BAR / longest if longest > 0 else 0.0
    strip.line((x, 38), (x, 64), RULE)
    strip.fill(x, 42, round(row.importance * scale), 18, _SHARE)
    text = number(row.importance, ".2f")
    if row.error is not None:
        low, high = (x + round(max(0.0, row.importance + sign * row.error) * scale) for sign in (-1, 1))
        strip.line((low, 51), (high, 51), _ERROR)
        for end in (low, high):
            strip.line((end, 47), (end, 55), _ERROR)
        text = f"{text} ± {number(row.error, '.2f')}"
    strip.text(text, x, 82, BODY)


def _draw_orders(page: ConceptPage) -> Canvas:
    lines = [part for line in page.lines for part in wrap(line, _LEGEND - 30, SMALL)]
    ends = _ends(np.concatenate([*page.deletion, *page.insertion]))
    plots = [
        _plot(f"{page.confidence}, concepts taken out", page.deletion, ends),
        _plot(f"{page.confidence}, concepts coming back", page.insertion, ends),
    ]
    strip = blank_page(max(60 + LINE * len(lines), 30 + max(plot.height for plot in plots)))
    strip.line((MARGIN, 0), (WIDTH - MARGIN - 1, 0), RULE)
    strip.text("How far to believe it", MARGIN, 34, HEADING)
    draw_lines(strip, lines, MARGIN, 60)
    x = MARGIN + _LEGEND
    for plot in plots:
        strip.place(plot, x, 16)
        x += plot.width + 24
    return strip


def _ends(values: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Of the scale of both plots: from zero, to the next round number."""
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    step = 10.0 ** floor(log10(max(high, -low, 1e-12)))
    return floor(low / step) * step, ceil(high / step) * step


def _plot(title: str, curves: Sequence[npt.NDArray[np.float32]], ends: tuple[float, float]) -> Canvas:
    steps = np.arange(len(curves[0]), dtype=np.float64)
    own, chance = (np.asarray(curve, np.float64) for curve in curves)
    return Plot(
        [Curve(steps, chance, "in random order", CHANCE), Curve(steps, own, "by importance", BLUE)],
        title,
        "concepts",
        across=3,
        height=_PLOT,
        y_range=ends,
    ).draw()
