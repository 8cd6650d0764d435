"""What all sheets have in common: the page, lines of words, predictions, the colour bar, the foot."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from viztool.render.colormaps import Picture, color_bar
from viztool.render.text import BODY, GREY, INK, RULE, SMALL, TINY, Color, draw_text, fit

WIDTH = 1340
MARGIN = 40
LINE = 19  # from one small line to the next
PREDICTION = 25  # from one prediction to the next

_BAR_HEIGHT = 9
_TRACK = (238, 240, 242)


def blank_page(height: int) -> Picture:
    """A white strip as wide as every sheet."""
    return np.full((height, WIDTH, 3), 255, np.uint8)


def draw_lines(page: Picture, lines: Sequence[str], x: int, y: int) -> int:
    """Write small lines below one another; returns where the next would stand."""
    for line in lines:
        draw_text(page, line, x, y, SMALL)
        y += LINE
    return y


def draw_predictions(page: Picture, predictions: Sequence[tuple[str, float]], x: int, y: int, room: int) -> int:
    """A name, a bar and a percentage for each class, the first in ink; returns where the next would stand."""
    for rank, (name, probability) in enumerate(predictions):
        _draw_prediction(page, name, probability, x, y, room, GREY if rank else INK)
        y += PREDICTION
    return y


def draw_bar(
    page: Picture,
    x: int,
    y: int,
    width: int,
    *,
    signed: bool,
    overlaid: bool,
    ticks: tuple[str, str, str],
    heat: bool = False,
) -> None:
    """The colour scale, and what stands under its left end, its middle and its right end."""
    bar = color_bar(width, _BAR_HEIGHT, signed=signed, overlaid=overlaid, heat=heat)
    page[y : y + _BAR_HEIGHT, x : x + width] = bar
    cv2.rectangle(page, (x, y), (x + width - 1, y + _BAR_HEIGHT - 1), RULE, 1)
    low, middle, high = ticks
    below = y + _BAR_HEIGHT + 15
    draw_text(page, low, x, below, TINY)
    draw_text(page, middle, x + width // 2, below, TINY, "center")
    draw_text(page, high, x + width, below, TINY, "right")


def draw_footer(footer: str) -> Picture:
    """The strip at the foot of a sheet."""
    page = blank_page(46)
    cv2.line(page, (MARGIN, 0), (WIDTH - MARGIN - 1, 0), RULE, 1)
    draw_text(page, fit(footer, WIDTH - 2 * MARGIN, TINY), MARGIN, 24, TINY)
    return page


def _draw_prediction(page: Picture, name: str, probability: float, x: int, y: int, room: int, color: Color) -> None:
    number, label = 62, min(220, room // 2)
    draw_text(page, fit(name, label - 12, BODY), x, y, BODY.with_color(color))
    left, right = x + label, x + room - number
    cv2.rectangle(page, (left, y - 9), (right, y - 2), _TRACK, -1)
    if probability > 0:
        filled = max(1, round((right - left) * min(probability, 1.0)))
        cv2.rectangle(page, (left, y - 9), (left + filled, y - 2), color, -1)
    draw_text(page, f"{probability:.1%}", x + room, y, BODY.with_color(color), "right")
