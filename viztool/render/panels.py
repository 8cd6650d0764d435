"""Panels of a demo: pictures, grids of numbers, products, bars, tables, words, each with its caption."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from viztool.render.canvas import Canvas
from viztool.render.colormaps import Picture, colorize
from viztool.render.numbers import number
from viztool.render.parts import LINE, MARGIN, WIDTH, draw_cells
from viztool.render.text import BODY, GREY, INK, RULE, SMALL, TINY, Color, Style, fit, text_width, wrap

LEGEND = 252
"""The column of words at the left of each band, as on a contact sheet."""
ROOM = WIDTH - 2 * MARGIN - LEGEND
"""What the panels of a band have beside it, in pixels."""
GAP = 16
GOOD: Color = (38, 121, 84)
BAD: Color = (178, 34, 52)

_TALLEST = 1.25  # height : width of a picture at most
_TINY_LINE = 15
_FAINT = 1.7  # a cell's colour is that of a value this much smaller: a number stands on it
_BAR_ROW = 24
_TRACK: Color = (240, 242, 244)
_POWER_ROOM = 44  # pixels from one number of a scale to the next, at least
_TABLE_ROW = 24

Array = npt.NDArray[np.float64]


class Panel(Protocol):
    """Something to draw. words: all that stands on it."""

    def draw(self) -> Canvas: ...

    @property
    def words(self) -> tuple[str, ...]: ...


def width_of(across: int) -> int:
    """Width of a panel of which this many stand beside one another."""
    return (ROOM - (across - 1) * GAP) // across


@dataclass(frozen=True)
class Shot:
    """A picture (h, w, 3). Small ones are enlarged by whole numbers: a pixel stays a plain square."""

    picture: Picture
    name: str
    lines: Sequence[str] = ()
    across: int = 5

    @property
    def words(self) -> tuple[str, ...]:
        return (self.name, *self.lines)

    def draw(self) -> Canvas:
        width = width_of(self.across)
        h, w = self.picture.shape[:2]
        scale = min(width / w, _TALLEST * width / h)
        size = max(1, round(h * scale)), max(1, round(w * scale))
        shot = Canvas(*size)
        shot.picture(0, 0, self.picture, size, smooth=min(h, w) > width)
        shot.frame(0, 0, size[1], size[0], RULE)
        return captioned(shot, self.name, self.lines, width)


@dataclass(frozen=True)
class Grid:
    """A matrix of numbers in cells. limit: the value of the darkest colour. marked: cells (row, column) in a frame.

    form: how a number is written; "" leaves the cells without. white: the value that is white, of pixels, which are
    drawn as greys from 0; or None. blank: cells of pixels that are none, such as a zero between them: white.
    """

    values: npt.NDArray[np.generic]
    name: str = ""
    lines: Sequence[str] = ()
    form: str = "g"
    limit: float | None = None
    cell: int = 34
    marked: Sequence[tuple[int, int]] = ()
    width: int | None = None
    white: float | None = None
    blank: Sequence[tuple[int, int]] = ()

    @property
    def words(self) -> tuple[str, ...]:
        numbers = (number(float(value), self.form) for value in self.values.ravel()) if self.form else ()
        return (self.name, *self.lines, *numbers)

    def draw(self) -> Canvas:
        grid = self.draw_cells()
        caption = max(grid.width, text_width(self.name, BODY), *(text_width(line, TINY) for line in (*self.lines,)), 0)
        return captioned(grid, self.name, self.lines, self.width or min(caption, max(grid.width, 240)))

    def draw_cells(self) -> Canvas:
        """The cells alone."""
        values = np.asarray(self.values, np.float32)
        limit = float(np.abs(values).max(initial=0.0)) if self.limit is None else self.limit
        faint = _FAINT if self.form else 1.0
        rows, columns = int(values.shape[0]), int(values.shape[1])
        height, width = rows * self.cell, columns * self.cell
        cells = Canvas(height, width)
        if self.white is None:
            draw_cells(cells, 0, 0, (height, width), values, limit * faint)
        else:
            greys = grey_picture(values, 0, self.white)
            for place in self.blank:
                greys[place] = 255
            cells.picture(0, 0, greys, (height, width))
        for y in (*range(0, height, self.cell), height - 1):
            cells.fill(0, y, width, 1, RULE)
        for x in (*range(0, width, self.cell), width - 1):
            cells.fill(x, 0, 1, height, RULE)
        if self.form:
            self._write(cells, values)
        for row, column in self.marked:
            inside = self.cell - 1
            cells.frame(column * self.cell + 1, row * self.cell + 1, inside, inside, INK, 2)
        return cells

    def _write(self, cells: Canvas, values: npt.NDArray[np.float32]) -> None:
        texts = [[number(float(value), self.form) for value in row] for row in np.asarray(self.values)]
        style = next(
            (Style(size) for size in (14, 13, 12, 11, 10, 9) if _widest(texts, Style(size)) <= self.cell - 4), Style(8)
        )
        for row, line in enumerate(texts):
            for column, text in enumerate(line):
                middle = column * self.cell + self.cell // 2
                light = (row, column) in self.blank or self._is_light(values[row, column])
                color = style if light else style.with_color((255, 255, 255))
                cells.text(text, middle, row * self.cell + self.cell // 2 + style.size // 2 - 1, color, "center")

    def _is_light(self, value: np.floating[Any]) -> bool:
        """Whether ink can be read on this cell."""
        return self.white is None or float(value) > 0.45 * self.white


@dataclass(frozen=True)
class Equation:
    """Grids with signs between them: patch × kernel = products, their sum. parts: grids and words in turn."""

    parts: Sequence[Grid | str]
    name: str = ""
    lines: Sequence[str] = ()

    @property
    def words(self) -> tuple[str, ...]:
        parts = (word for part in self.parts for word in ((part,) if isinstance(part, str) else part.words))
        return (self.name, *self.lines, *parts)

    def draw(self) -> Canvas:
        style = Style(18)
        pieces = [_sign(part, style) if isinstance(part, str) else _part(part) for part in self.parts]
        middle = max(centre for _, centre in pieces)
        height = max(piece.height + middle - centre for piece, centre in pieces)
        page = Canvas(height, sum(piece.width + 10 for piece, _ in pieces) - 10)
        x = 0
        for piece, centre in pieces:
            page.place(piece, x, middle - centre)
            x += piece.width + 10
        return captioned(page, self.name, self.lines, max(page.width, 180))


def _part(grid: Grid) -> tuple[Canvas, int]:
    """A grid with its caption, and where its cells' middle is."""
    cells = grid.draw_cells()
    width = max(cells.width, min(text_width(grid.name, BODY), 200))
    return captioned(cells, grid.name, grid.lines, width), cells.height // 2


def _sign(text: str, style: Style) -> tuple[Canvas, int]:
    picture = Canvas(26, text_width(text, style) + 2)
    picture.text(text, 1, 19, style)
    return picture, 13


@dataclass(frozen=True)
class Bar:
    """value: in the unit of its panel. text: what stands at its end."""

    label: str
    value: float
    text: str
    color: Color = (122, 152, 186)


@dataclass(frozen=True)
class Bars:
    """Bars from zero to the right, one below another. log: in powers of ten, from a tenth of the least.

    A bar stands in the room of the longest, as its share; in powers of ten it has none, and stands on a scale.
    """

    rows: Sequence[Bar]
    name: str
    lines: Sequence[str] = ()
    across: int = 2
    top: float | None = None
    log: bool = False

    @property
    def words(self) -> tuple[str, ...]:
        return (self.name, *self.lines, *(word for row in self.rows for word in (row.label, row.text)))

    def draw(self) -> Canvas:
        width = width_of(self.across)
        rows = _BAR_ROW * len(self.rows)
        page = Canvas(rows + (_TINY_LINE + 8 if self.log else 4), width)
        left = min(max(text_width(row.label, SMALL) for row in self.rows) + 14, round(0.5 * width))
        room = width - left - max(text_width(row.text, SMALL) for row in self.rows) - 10
        top = self.top if self.top is not None else max(max(row.value for row in self.rows), 1e-12)
        if self.log:
            self._draw_scale(page, left, room, rows, top)
        for index, row in enumerate(self.rows):
            y = index * _BAR_ROW
            page.text(fit(row.label, left - 10, SMALL), 0, y + 17, SMALL.with_color(INK))
            length = round(room * min(max(self._share(row.value, top), 0.0), 1.0))
            if not self.log:
                page.fill(left, y + 6, room + 1, 13, _TRACK)
            if length:
                page.fill(left, y + 6, length + 1, 13, row.color)
            page.text(row.text, left + room + 8, y + 17, SMALL.with_color(INK))
        return captioned(page, self.name, self.lines, width)

    def _draw_scale(self, page: Canvas, left: int, room: int, height: int, top: float) -> None:
        """A line at each power of ten, or at as many as have room for their numbers."""
        least = min((row.value for row in self.rows if row.value > 0), default=top) / 10
        powers = range(ceil(log10(least) - 1e-9), floor(log10(top) + 1e-9) + 1)
        for power in powers[:: max(1, ceil(len(powers) * _POWER_ROOM / room))]:
            at = left + round(room * self._share(10.0**power, top))
            page.line((at, 2), (at, height + 2), RULE)
            text = number(10.0**power, "g" if -4 < power < 5 else ".0e")
            page.text(text, at, height + 16, TINY, "center")

    def _share(self, value: float, top: float) -> float:
        """How much of the longest bar a value has."""
        if not self.log:
            return value / top
        least = min((row.value for row in self.rows if row.value > 0), default=top) / 10
        return float(np.log(value / least) / np.log(top / least)) if value > 0 else 0.0


@dataclass(frozen=True)
class Table:
    """rows: of cells, the first of them headings. colors: of cells (row, column) that matter."""

    rows: Sequence[Sequence[str]]
    name: str = ""
    lines: Sequence[str] = ()
    colors: tuple[tuple[int, int, Color], ...] = ()
    width: int | None = None

    @property
    def words(self) -> tuple[str, ...]:
        return (self.name, *self.lines, *(cell for row in self.rows for cell in row))

    def draw(self) -> Canvas:
        columns = [[row[at] for row in self.rows] for at in range(len(self.rows[0]))]
        wide = [max(text_width(cell, BODY) for cell in column) for column in columns]
        gap = 26
        natural = sum(wide) + gap * (len(wide) - 1)
        width = max(natural, self.width or 0)
        if self.width and len(wide) > 1:
            gap = min(gap + (width - natural) // (len(wide) - 1), 60)
        page = Canvas(_TABLE_ROW * len(self.rows) + 8, width)
        right = sum(wide) + gap * (len(wide) - 1)
        page.line((0, _TABLE_ROW - 2), (right - 1, _TABLE_ROW - 2), RULE)
        colors = {(row, column): color for row, column, color in self.colors}
        for index, row in enumerate(self.rows):
            x, baseline = 0, index * _TABLE_ROW + 15 + (3 if index else 0)
            for column, cell in enumerate(row):
                style = SMALL if index == 0 else BODY
                if (index, column) in colors:
                    style = Style(14, 600, colors[index, column])
                end = x + wide[column] if column else x
                page.text(cell, end, baseline, style, "right" if column else "left")
                x += wide[column] + gap
        return captioned(page, self.name, self.lines, width)


@dataclass(frozen=True)
class Words:
    """Paragraphs."""

    paragraphs: Sequence[str]
    across: int = 2

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(self.paragraphs)

    def draw(self) -> Canvas:
        width = width_of(self.across)
        style = BODY
        blocks = [wrap(paragraph, width, style) for paragraph in self.paragraphs]
        page = Canvas(sum(21 * len(block) + 9 for block in blocks) + 4, width)
        y = 14
        for block in blocks:
            for line in block:
                page.text(line, 0, y, style)
                y += 21
            y += 9
        return page


def captioned(picture: Canvas, name: str, lines: Sequence[str], width: int) -> Canvas:
    """The picture with its name and small lines below it, on a page of that width."""
    width = max(width, picture.width)
    names = wrap(name, width, BODY)
    small = [part for line in lines for part in wrap(line, width, TINY)]
    below = (8 + 18 * len(names) if names else 4) + _TINY_LINE * len(small)
    page = Canvas(picture.height + below, width)
    page.place(picture, 0, 0)
    y = picture.height + 19
    for line in names:
        page.text(line, 0, y, BODY)
        y += 18
    y -= 3 if names else 4
    for line in small:
        page.text(line, 0, y, TINY)
        y += _TINY_LINE
    return page


def grey_picture(values: npt.NDArray[np.generic], low: float, high: float) -> Picture:
    """(h, w) numbers as greys, black at `low` and below, white at `high` and above: uint8 (h, w, 3)."""
    share = (np.asarray(values, np.float64) - low) / max(high - low, 1e-12)
    return np.repeat(np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8)[..., None], 3, 2)


def signed_picture(values: npt.NDArray[np.generic], limit: float | None = None) -> Picture:
    """(h, w) numbers in the colours of feature maps, white at zero: uint8 (h, w, 3)."""
    plain = np.asarray(values, np.float32)
    return colorize(plain, float(np.abs(plain).max(initial=0.0)) if limit is None else limit)


def _widest(texts: Sequence[Sequence[str]], style: Style) -> int:
    return max(text_width(text, style) for line in texts for text in line)


__all__ = [
    "BAD",
    "GAP",
    "GOOD",
    "GREY",
    "LEGEND",
    "LINE",
    "ROOM",
    "Bar",
    "Bars",
    "Equation",
    "Grid",
    "Panel",
    "Shot",
    "Table",
    "Words",
    "captioned",
    "grey_picture",
    "signed_picture",
    "width_of",
]
