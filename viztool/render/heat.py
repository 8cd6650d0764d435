"""Heatmaps on a sheet: the photo, the map in its own cells, the map over the photo, and the scale in real units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from viztool.render.canvas import Canvas, stack
from viztool.render.colormaps import Map, Picture
from viztool.render.numbers import number
from viztool.render.parts import (
    LINE,
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
from viztool.render.strip import Strip, draw_strip
from viztool.render.text import HEADING, RULE, SMALL, fit, wrap

_SIDE = 280
_GAP = 24
_FLAG = (178, 34, 52)
_WORDS = WIDTH - 2 * MARGIN - 3 * (_SIDE + _GAP)


@dataclass(frozen=True)
class HeatBand:
    """One image. view: (H, W, 3) what the network was given. values: (h, w), not normalised, in `unit`.

    limit: where the scale ends; values beyond it have the colour of its end. over_time: what is drawn below, of
    something that has a time. flags: what speaks against the map, in red. box: (left, top, right, bottom) in shares of
    the view.
    """

    title: str
    subtitle: str
    view: Picture
    values: Map
    limit: float
    signed: bool
    unit: str
    lines: Sequence[str]
    predictions: Predictions
    over_time: Strip | None = None
    flags: Sequence[str] = ()
    box: tuple[float, float, float, float] | None = None


@dataclass(frozen=True)
class HeatSheet:
    """Bands below one another, and a line at the foot."""

    bands: Sequence[HeatBand]
    footer: str


def heat_sheet(sheet: HeatSheet) -> Canvas:
    """Draw the sheet."""
    drawn = [part for band in sheet.bands for part in (_draw_band(band), *_draw_time(band))]
    return stack([*drawn, draw_footer(sheet.footer)])


def _draw_time(band: HeatBand) -> list[Canvas]:
    return [] if band.over_time is None else [draw_strip(band.over_time)]


def _draw_band(band: HeatBand) -> Canvas:
    subtitle = wrap(band.subtitle, _WORDS, SMALL)
    words = [part for line in band.lines for part in wrap(line, _WORDS, SMALL)]
    flags = [part for line in band.flags for part in wrap(line, _WORDS, SMALL)]
    below = MARGIN + 52 + LINE * (len(subtitle) + len(words) + len(flags)) + band.predictions.height(_WORDS)
    page = blank_page(max(MARGIN + _SIDE + 62, below + 20))
    page.text(fit(band.title, _WORDS, HEADING), MARGIN, MARGIN + 15, HEADING)
    y = draw_lines(page, subtitle, MARGIN, MARGIN + 38) + 8
    y = band.predictions.draw(page, MARGIN, y, _WORDS) + 6
    y = draw_lines(page, words, MARGIN, y)
    for line in flags:
        page.text(line, MARGIN, y, SMALL.with_color(_FLAG))
        y += LINE

    width, height = _fitted(band.view)
    size, heat, limit = (height, width), not band.signed, band.limit
    for column in range(3):
        x = MARGIN + _WORDS + _GAP + column * (_SIDE + _GAP)
        if column == 0:
            page.picture(x, MARGIN, band.view, size, smooth=True)
        elif column == 1:
            draw_cells(page, x, MARGIN, size, band.values, limit, heat=heat)
        else:
            draw_over(page, x, MARGIN, size, band.values, limit, band.view, heat=heat)
        page.frame(x, MARGIN, width, height, RULE)
        if band.box is not None:
            draw_box(page, x, MARGIN, size, band.box)
        if column == 0:
            page.text("what the network was given", x, MARGIN + height + 20, SMALL)
        elif limit == 0:
            page.text("the map is zero everywhere", x, MARGIN + height + 20, SMALL)
        else:
            ticks = _ticks(band)
            y = MARGIN + height + 8
            draw_bar(page, x, y, width, signed=band.signed, overlaid=column == 2, ticks=ticks, heat=heat)
    return page


def _ticks(band: HeatBand) -> tuple[str, str, str]:
    """What stands under the scale; ≥ where values lie beyond its end."""
    low, high, end = float(band.values.min()), float(band.values.max()), number(band.limit, ".3g")
    top = f"{'≥ ' if high > band.limit else ''}{end} {band.unit}".strip()
    return (f"{'≤ ' if low < -band.limit else ''}−{end}", "0", top) if band.signed else ("0", "", top)


def _fitted(view: Picture) -> tuple[int, int]:
    """(width, height) of the view inside its square place."""
    h, w = view.shape[:2]
    scale = _SIDE / max(h, w)
    return max(1, round(w * scale)), max(1, round(h * scale))
