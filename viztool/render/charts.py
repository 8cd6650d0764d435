"""Panels of bars and of tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

import numpy as np

from viztool.render.canvas import Canvas
from viztool.render.numbers import number
from viztool.render.panels import TINY_LINE, captioned, width_of
from viztool.render.text import BODY, INK, RULE, SMALL, TINY, Color, Style, fit, text_width

_BAR_ROW = 24
_TRACK: Color = (240, 242, 244)
_POWER_ROOM = 44  # pixels from one number of a scale to the next, at least
_TABLE_ROW = 24


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
        page = Canvas(rows + (TINY_LINE + 8 if self.log else 4), width)
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
