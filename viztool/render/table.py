"""A table as a picture: quiet rules, aligned columns, and a bar for each share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from viztool.render.canvas import Canvas
from viztool.render.text import BODY, GREY, RULE, SMALL, TINY, TITLE, fit, text_width

_MARGIN = 40
_ROW = 22
_GAP = 28
_BAR = 90
_INDENT = 14
_WIDEST = 420  # of a column; longer entries lose their middle
_BAR_COLOR = (122, 152, 186)


@dataclass(frozen=True)
class Column:
    """heading: above it. cells: one for each row. shares: in [0, 1], drawn as bars behind the cells; or none."""

    heading: str
    cells: Sequence[str]
    align: Literal["left", "right"] = "left"
    shares: Sequence[float] = ()


def draw_table(title: str, subtitle: str, columns: Sequence[Column], indents: Sequence[int]) -> Canvas:
    """The table, as large as it needs to be. indents: how deep each row's first cell stands."""
    deepest = [_INDENT * max(indents, default=0)] + [0] * (len(columns) - 1)
    widths = [_width(column) + indent for column, indent in zip(columns, deepest, strict=True)]
    width = max(sum(widths) + _GAP * (len(columns) - 1), text_width(title, TITLE)) + 2 * _MARGIN
    page = Canvas(_MARGIN + 86 + _ROW * len(indents) + _MARGIN, width)
    page.text(title, _MARGIN, _MARGIN + 22, TITLE)
    page.text(fit(subtitle, width - 2 * _MARGIN, SMALL), _MARGIN, _MARGIN + 46, SMALL)

    top = _MARGIN + 78
    x = _MARGIN
    for index, (column, column_width) in enumerate(zip(columns, widths, strict=True)):
        _draw_column(page, column, x, top, column_width, indents if index == 0 else [0] * len(indents))
        x += column_width + _GAP
    page.line((_MARGIN, top + 8), (width - _MARGIN - 1, top + 8), RULE)
    return page


def _draw_column(page: Canvas, column: Column, x: int, top: int, width: int, indents: Sequence[int]) -> None:
    end = x + width if column.align == "right" else x
    page.text(column.heading, end, top, TINY, column.align)
    for row, cell in enumerate(column.cells):
        baseline = top + _ROW * (row + 1) + 6
        if column.shares and column.shares[row] > 0:
            length = max(1, round(_BAR * column.shares[row]))
            page.fill(x, baseline - 10, length, 13, _BAR_COLOR)
        style = BODY if indents[row] == 0 else BODY.with_color(GREY)
        shift = _INDENT * indents[row]
        page.text(fit(cell, width - shift, style), end + shift, baseline, style, column.align)


def _width(column: Column) -> int:
    widest = max(text_width(cell, BODY) for cell in (column.heading, *column.cells))
    return min(widest, _WIDEST) + (_BAR + 10 if column.shares else 0)
