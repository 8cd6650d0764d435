"""Rows of units: what each does over a data set in words and a histogram, and the places that it answers to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from viztool.render.canvas import Canvas, stack
from viztool.render.colormaps import Picture
from viztool.render.heading import draw_heading
from viztool.render.numbers import number
from viztool.render.parts import LINE, MARGIN, WIDTH, blank_page, draw_footer, draw_lines
from viztool.render.scaling import scaled
from viztool.render.text import GREY, HEADING, RULE, SMALL, TINY, Color, fit, text_width, wrap

Box: TypeAlias = tuple[float, float, float, float]
"""Top, left, bottom, right, in pixels of the photo."""

_WORDS = 236
_PLOT = (88, 214)  # height × width of a histogram
_TILE = 96
_GAP = 10
_ROW = 142
_BLANK: Color = (246, 247, 248)
_BARS: Color = (147, 171, 203)
_MARK: Color = (196, 106, 28)
_COLUMNS = 107


@dataclass(frozen=True, eq=False)
class Counted:
    """A histogram: edges (n + 1,), rising, of n counts. marks: values that are pointed out, each with its name."""

    edges: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]
    marks: Sequence[tuple[str, float]]


@dataclass(frozen=True, eq=False)
class Crop:
    """A part of a photo, or None where the photo is not there, with its value under it.

    begins: the word of a group that begins with it.
    """

    picture: Picture | None
    label: str
    begins: str = ""


@dataclass(frozen=True, eq=False)
class UnitRow:
    """One unit."""

    title: str
    lines: Sequence[str]
    histogram: Counted
    crops: Sequence[Crop]


@dataclass(frozen=True, eq=False)
class AtlasPage:
    """All of it. view: a photo with boxes on it, (top, left, bottom, right) with a word each; or none."""

    title: str
    subtitle: str
    notes: Sequence[str]
    rows: Sequence[UnitRow]
    footer: str
    view: Picture | None = None
    boxes: Sequence[tuple[str, Box]] = ()


def atlas_page(page: AtlasPage) -> Canvas:
    """Draw the sheet, as high as it needs to be."""
    parts = [draw_heading(page.title, page.subtitle, page.notes)]
    if page.view is not None:
        parts.append(_draw_view(page.view, page.boxes))
    return stack([*parts, *(_draw_row(row) for row in page.rows), draw_footer(page.footer)])


def _draw_row(row: UnitRow) -> Canvas:
    lines = [part for line in row.lines for part in wrap(line, _WORDS - 12, SMALL)]
    strip = blank_page(max(_ROW, 50 + LINE * len(lines)))
    strip.line((MARGIN, 0), (WIDTH - MARGIN - 1, 0), RULE)
    strip.text(fit(row.title, _WORDS - 12, HEADING), MARGIN, 28, HEADING)
    draw_lines(strip, lines, MARGIN, 50)
    _draw_histogram(strip, MARGIN + _WORDS, 22, row.histogram)
    x = MARGIN + _WORDS + _PLOT[1] + 28
    for crop in row.crops:
        if crop.begins:
            x += _GAP
        if x + _TILE > WIDTH - MARGIN + 1:
            break
        _draw_crop(strip, x, 22, crop)
        x += _TILE + _GAP
    return strip


def _draw_crop(strip: Canvas, x: int, y: int, crop: Crop) -> None:
    strip.text(crop.begins, x, y - 7, TINY)
    strip.fill(x, y, _TILE, _TILE, _BLANK)
    if crop.picture is not None:
        h, w = crop.picture.shape[:2]
        scale = _TILE / max(h, w)
        size = max(1, round(h * scale)), max(1, round(w * scale))
        left, top = x + (_TILE - size[1]) // 2, y + (_TILE - size[0]) // 2
        strip.picture(left, top, crop.picture, size, smooth=True)
    else:
        strip.text("not there", x + _TILE // 2, y + _TILE // 2 + 4, TINY, "center")
    strip.text(fit(crop.label, _TILE, TINY), x, y + _TILE + 15, TINY)


def _draw_histogram(strip: Canvas, x: int, y: int, counted: Counted) -> None:
    """Shares of all positions on a logarithmic scale, over the values, evenly."""
    height, width = _PLOT
    strip.line((x, y + height), (x + width - 1, y + height), RULE)
    if not counted.counts.sum():
        strip.text("no values", x, y + height // 2, SMALL.with_color(GREY))
        return
    low, high = float(counted.edges[0]), float(counted.edges[-1])
    tops = _columns(counted, low, high)
    most = np.log10(1 + tops.max())
    step = width / _COLUMNS
    for column, top in enumerate(tops):
        bar = round(height * float(np.log10(1 + top) / most)) if top > 0 else 0
        if bar:
            left, right = x + round(column * step), x + round((column + 1) * step)
            strip.fill(left, y + height - bar, right - left, bar, _BARS)
    below = y + height + 15
    strip.text(_number(low), x, below, TINY)
    strip.text(_number(high), x + width, below, TINY, "right")
    for name, value in counted.marks:
        if not low <= value <= high:
            words = f"{name} {_number(value)}: off the scale"
            if value > high:
                strip.text(f"{words} →", x + width, y - 4, TINY.with_color(_MARK), "right")
            else:
                strip.text(f"← {words}", x, y - 4, TINY.with_color(_MARK))
            continue
        at = x + min(width - 1, round((value - low) / max(high - low, 1e-30) * width))
        strip.line((at, y), (at, y + height), _MARK)
        words = f"{name} {_number(value)}"
        if at > x + width // 2:
            strip.text(words, at + 2, y - 4, TINY.with_color(_MARK), "right")
        else:
            strip.text(words, at - 2, y - 4, TINY.with_color(_MARK))


def _columns(counted: Counted, low: float, high: float) -> npt.NDArray[np.float64]:
    """Counts of equally wide columns: a bin that lies in several is shared out by the width that it has in each."""
    ends = np.linspace(low, high, _COLUMNS + 1)
    reached = np.concatenate([[0], np.cumsum(counted.counts, dtype=np.float64)])
    return np.asarray(np.diff(np.interp(ends, counted.edges, reached)).clip(0))


def _draw_view(view: Picture, boxes: Sequence[tuple[str, Box]]) -> Canvas:
    height = 360
    scale = min(height / view.shape[0], (WIDTH - 2 * MARGIN) / view.shape[1])
    size = max(1, round(view.shape[0] * scale)), max(1, round(view.shape[1] * scale))
    strip = blank_page(size[0] + 24)
    strip.picture(MARGIN, 4, scaled(view, size, smooth=True))
    taken: list[tuple[int, int, int]] = []
    for (top, left, bottom, right), names in _same(boxes).items():
        x, y = MARGIN + round(left * scale), 4 + round(top * scale)
        strip.frame(x, y, max(2, round((right - left) * scale)), max(2, round((bottom - top) * scale)), _MARK, 2)
        words = ", ".join(names)
        width = text_width(words, TINY) + 10
        for start, end, other in sorted(taken):  # beside labels of boxes that begin at the same corner
            if abs(y - other) < 17 and start < x + width and x < end:
                x = end
        taken.append((x, x + width, y))
        strip.fill(x, y, width, 17, _MARK)
        strip.text(words, x + 5, y + 13, TINY.with_color((255, 255, 255)))
    return strip


def _same(boxes: Sequence[tuple[str, Box]]) -> dict[Box, list[str]]:
    """The words of all that have the same box: the last of them would cover the others."""
    found: dict[Box, list[str]] = {}
    for name, box in boxes:
        found.setdefault(box, []).append(name)
    return found


def _number(value: float) -> str:
    if abs(value) < 1e-4:  # an edge of the bin that holds zero
        return "0"
    return number(value, ".3g")
