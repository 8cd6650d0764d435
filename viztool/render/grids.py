"""Panels of numbers in cells, and of one such grid times, plus or minus another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from viztool.render.canvas import Canvas
from viztool.render.numbers import number
from viztool.render.panels import captioned, grey_picture
from viztool.render.parts import draw_cells
from viztool.render.text import BODY, INK, RULE, TINY, Style, text_width

_FAINT = 1.7  # a cell's colour is that of a value this much smaller: a number stands on it


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


def _widest(texts: Sequence[Sequence[str]], style: Style) -> int:
    return max(text_width(text, style) for line in texts for text in line)
