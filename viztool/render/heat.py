"""Heatmaps on a sheet: the photo, the map in its own cells, the map over the photo, and the scale in real units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from viztool.render.colormaps import Map, Picture, colorize, overlay
from viztool.render.parts import MARGIN, WIDTH, blank_page, draw_bar, draw_footer, draw_lines, draw_predictions
from viztool.render.scaling import scaled
from viztool.render.text import HEADING, RULE, SMALL, draw_text, fit, wrap

_SIDE = 280
_GAP = 24
_WORDS = WIDTH - 2 * MARGIN - 3 * (_SIDE + _GAP)


@dataclass(frozen=True)
class HeatBand:
    """One image. view: (H, W, 3) what the network was given. values: (h, w), not normalised, in `unit`."""

    title: str
    subtitle: str
    view: Picture
    values: Map
    signed: bool
    unit: str
    lines: Sequence[str]
    predictions: Sequence[tuple[str, float]]


@dataclass(frozen=True)
class HeatSheet:
    """Bands below one another, and a line at the foot."""

    bands: Sequence[HeatBand]
    footer: str


def heat_sheet(sheet: HeatSheet) -> Picture:
    """Draw the sheet: uint8 (H, 1340, 3) RGB."""
    return np.concatenate([*map(_draw_band, sheet.bands), draw_footer(sheet.footer)])


def _draw_band(band: HeatBand) -> Picture:
    page = blank_page(MARGIN + _SIDE + 62)
    draw_text(page, fit(band.title, _WORDS, HEADING), MARGIN, MARGIN + 15, HEADING)
    y = draw_lines(page, wrap(band.subtitle, _WORDS, SMALL), MARGIN, MARGIN + 38) + 8
    y = draw_predictions(page, band.predictions, MARGIN, y, _WORDS) + 6
    for line in band.lines:
        y = draw_lines(page, wrap(line, _WORDS, SMALL), MARGIN, y)

    limit = float(np.abs(band.values).max(initial=0.0))
    width, height = _fitted(band.view)
    view = scaled(band.view, (height, width), smooth=True)
    pictures = (view, colorize(scaled(band.values, (height, width)), limit), overlay(band.values, limit, view))
    for column, picture in enumerate(pictures):
        x = MARGIN + _WORDS + _GAP + column * (_SIDE + _GAP)
        page[MARGIN : MARGIN + height, x : x + width] = picture
        cv2.rectangle(page, (x, MARGIN), (x + width - 1, MARGIN + height - 1), RULE, 1)
        if column == 0:
            draw_text(page, "what the network was given", x, MARGIN + height + 20, SMALL)
        elif limit == 0:
            draw_text(page, "the map is zero everywhere", x, MARGIN + height + 20, SMALL)
        else:
            top = f"{limit:.3g} {band.unit}".strip()
            ticks = (f"−{limit:.3g}", "0", top) if band.signed else ("0", "", top)
            draw_bar(page, x, MARGIN + height + 8, width, signed=band.signed, overlaid=column == 2, ticks=ticks)
    return page


def _fitted(view: Picture) -> tuple[int, int]:
    """(width, height) of the view inside its square place."""
    h, w = view.shape[:2]
    scale = _SIDE / max(h, w)
    return max(1, round(w * scale)), max(1, round(h * scale))
