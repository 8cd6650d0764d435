"""A sheet of cards: for each kernel its weights, its pictures, its photos, with numbers small under each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
import numpy.typing as npt

from viztool.render.canvas import Canvas, Size, stack
from viztool.render.colormaps import Picture, colorize
from viztool.render.heading import draw_heading
from viztool.render.numbers import number
from viztool.render.parts import MARGIN, WIDTH, blank_page, draw_footer
from viztool.render.raster import raster
from viztool.render.text import GREY, HEADING, RULE, SMALL, TINY, fit, text_width

_TILES = 7  # in the fullest row
_GAP = 14
_BETWEEN = 36  # from one card to the next beside it
_LEAST = (WIDTH - 2 * MARGIN - (_TILES - 1) * _GAP) // _TILES
_MOST = 2 * _LEAST
_TITLE = 34
_LINE = 14
_PATHS = ((40, 44, 52), (196, 48, 43), (176, 182, 190))
_BLANK = (246, 247, 248)


@dataclass(frozen=True)
class Picked:
    """A picture with lines under it, or what is said in its place. cells: its pixels are values, and stay sharp."""

    picture: Picture | None
    lines: Sequence[str] = ()
    mark: str = ""
    cells: bool = False


@dataclass(frozen=True)
class Card:
    """One kernel. columns: a word above each tile of the first row. indent: tiles that the later rows stand in."""

    title: str
    note: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Picked]]
    indent: int = 0


@dataclass(frozen=True)
class KernelPage:
    """All of it."""

    title: str
    subtitle: str
    notes: Sequence[str]
    cards: Sequence[Card]
    footer: str


def kernel_page(page: KernelPage) -> Canvas:
    """Draw the sheet, as high as it needs to be."""
    most = max((len(row) for card in page.cards for row in card.rows), default=1)
    across = (WIDTH - 2 * MARGIN + _BETWEEN) // (most * (_LEAST + _GAP) - _GAP + _BETWEEN)
    across = max(1, min(across, len(page.cards)))
    side = min(_MOST, ((WIDTH - 2 * MARGIN + _BETWEEN) // across - _BETWEEN + _GAP) // most - _GAP)
    rows = [page.cards[first : first + across] for first in range(0, len(page.cards), across)]
    strips = [_draw_row(row, most, side) for row in rows]
    return stack([draw_heading(page.title, page.subtitle, page.notes), *strips, draw_footer(page.footer)])


def _draw_row(cards: Sequence[Card], most: int, side: int) -> Canvas:
    drawn = [_draw_card(card, most, side) for card in cards]
    strip = blank_page(max(card.height for card in drawn))
    x = MARGIN
    for card in drawn:
        strip.place(card, x, 0)
        x += card.width + _BETWEEN
    return strip


def _draw_card(card: Card, most: int, side: int) -> Canvas:
    width = most * (side + _GAP) - _GAP
    heights = [side + 6 + _LINE * max((len(tile.lines) for tile in row), default=0) + 8 for row in card.rows]
    canvas = Canvas(12 + _TITLE + 16 + sum(heights) + 6, width)
    canvas.line((0, 0), (width - 1, 0), RULE)
    canvas.text(card.title, 0, 28, HEADING)
    room = text_width(card.title, HEADING) + 12
    canvas.text(fit(card.note, width - room, SMALL), room, 28, SMALL)
    y = 12 + _TITLE + 10
    for index, column in enumerate(card.columns):
        spanned = next((more for more, other in enumerate(card.columns[index + 1 :], 1) if other), most - index)
        canvas.text(fit(column, spanned * (side + _GAP) - _GAP, TINY), index * (side + _GAP), y, TINY)
    y += 6
    for line, (row, height) in enumerate(zip(card.rows, heights, strict=True)):
        x = card.indent * (side + _GAP) if line else 0
        for tile in row:
            canvas.place(_draw_tile(tile, side), x, y)
            for below, text in enumerate(tile.lines):
                canvas.text(fit(text, side, TINY), x, y + side + 14 + below * _LINE, TINY)
            x += side + _GAP
        y += height
    return canvas


def _draw_tile(tile: Picked, side: int) -> Canvas:
    canvas = Canvas(side, side)
    if tile.picture is not None:
        height, width = size = _fitted(tile.picture, side)
        top, left = (side - height) // 2, (side - width) // 2
        own = (int(tile.picture.shape[0]), int(tile.picture.shape[1]))
        smooth = not tile.cells or own[0] > height
        canvas.image(left, top, size, partial(_resized, tile.picture, tile.cells), own, smooth=smooth)
        canvas.frame(left, top, width, height, RULE)
        return canvas
    canvas.fill(0, 0, side, side, _BLANK)
    canvas.text(fit(tile.mark, side - 12, SMALL), side // 2, side // 2 + 5, SMALL.with_color(GREY), "center")
    canvas.frame(0, 0, side, side, RULE)
    return canvas


def _fitted(picture: Picture, side: int) -> Size:
    """As large as fits the tile, in its own proportions."""
    h, w = picture.shape[:2]
    scale = side / max(h, w)
    return max(1, round(h * scale)), max(1, round(w * scale))


def _resized(picture: Picture, cells: bool, size: Size) -> Picture:
    shrinks = max(picture.shape[:2]) > max(size)
    way = cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST if cells else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, size[::-1], interpolation=way), np.uint8)


def draw_color_kernel(values: npt.NDArray[np.float32]) -> Picture:
    """A kernel (3, kh, kw) on red, green and blue: mid-grey is zero, and its largest weight is full."""
    limit = float(np.abs(values).max()) or 1.0
    picture: Picture = np.rint((values.transpose(1, 2, 0) / limit + 1) * 127.5).astype(np.uint8)
    return picture


def draw_paths(curves: Sequence[npt.NDArray[np.float64]]) -> Picture:
    """Curves of photos, of an optimum and of noise, from −0.2 to 1: dark, red and light."""
    side, low, high = 2 * _LEAST, -0.2, 1.0
    canvas = Canvas(side, side)

    def height(value: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray((side - 17) * (high - value.clip(low, high)) / (high - low) + 8)

    for mark in (0.0, 0.5, 1.0):
        level = round(float(height(np.array(mark))))
        canvas.line((8, level), (side - 9, level), RULE)
        canvas.text(number(mark), 10, level + 20, SMALL.with_size(18))
    for values, color in zip(curves, _PATHS, strict=True):
        along = np.linspace(8, side - 9, len(values))
        canvas.curve(np.stack([along, height(values)], 1), color, 4)
    return raster(canvas)


def draw_slices(slices: npt.NDArray[np.float32]) -> Picture:
    """Slices (n, kh, kw) in a grid, white lines between them, on one scale: red above zero, blue below."""
    limit = float(np.abs(slices).max())
    count, kh, kw = slices.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    if kh == kw == 1:  # single weights: cells without lines
        cells = np.zeros(rows * columns, np.float32)
        cells[:count] = slices[:, 0, 0]
        return _enlarged(colorize(cells.reshape(rows, columns), limit))
    cell = max(1, 160 // max(kh, kw) // columns)
    step = (kh * cell + 2, kw * cell + 2)
    canvas = np.full((rows * step[0] - 2, columns * step[1] - 2, 3), 255, np.uint8)
    for index, values in enumerate(slices):
        y, x = index // columns * step[0], index % columns * step[1]
        drawn = colorize(np.kron(values, np.ones((cell, cell), np.float32)), limit)
        canvas[y : y + drawn.shape[0], x : x + drawn.shape[1]] = drawn
        cv2.rectangle(canvas, (x, y), (x + drawn.shape[1] - 1, y + drawn.shape[0] - 1), RULE, 1)
    return canvas


def _enlarged(cells: Picture) -> Picture:
    times = max(1, _LEAST // max(cells.shape[:2]))
    large: Picture = np.repeat(np.repeat(cells, times, 0), times, 1)
    return large
