"""A layer's weights as a few factors: a row for each, from the inputs that it reads to the units that have it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from viztool.render.canvas import Canvas, stack
from viztool.render.circuit_sheet import draw_icon
from viztool.render.colormaps import Map, Picture
from viztool.render.heading import draw_heading
from viztool.render.kernel_row import draw_kernel
from viztool.render.parts import MARGIN, WIDTH, blank_page, draw_footer, draw_lines
from viztool.render.text import HEADING, RULE, SMALL, TINY, Color, fit

_WORDS = 176
_TILE, _GAP, _BETWEEN = 78, 4, 18
_ROW, _HEAD = 132, 60
_READS = 3
_ARROW = 64
_INK: Color = (150, 156, 162)


@dataclass(frozen=True, eq=False)
class Piece:
    """A channel in a factor. optimum: of the channel, where there is one. kernel: (h, w), of an input. under: below."""

    label: str
    optimum: Picture | None
    under: str
    kernel: Map | None = None


@dataclass(frozen=True, eq=False)
class FactorRow:
    """One factor. lines: below its title. limit: of its kernels' colours. inputs have kernels, outputs none."""

    title: str
    lines: Sequence[str]
    inputs: Sequence[Piece]
    outputs: Sequence[Piece]
    limit: float


@dataclass(frozen=True, eq=False)
class OverviewPage:
    """All of it. drawn: whether optima have a place. inputs, outputs: headings over the two sides of the rows."""

    title: str
    subtitle: str
    notes: Sequence[str]
    drawn: bool
    inputs: str
    outputs: str
    rows: Sequence[FactorRow]
    footer: str


def overview_page(page: OverviewPage) -> Canvas:
    """Draw the sheet, as high as it needs to be."""
    heads = draw_heading(page.title, page.subtitle, page.notes)
    return stack([heads, _draw_columns(page), *(_draw_row(page, row) for row in page.rows), draw_footer(page.footer)])


def _wide(page: OverviewPage) -> int:
    return 2 * _TILE + _GAP if page.drawn else _TILE


def _outputs_at(page: OverviewPage) -> int:
    return MARGIN + _WORDS + _READS * (_wide(page) + _BETWEEN) + _ARROW


def _draw_columns(page: OverviewPage) -> Canvas:
    canvas = blank_page(_HEAD)
    canvas.line((MARGIN, 0), (WIDTH - MARGIN - 1, 0), RULE)
    left, right = MARGIN + _WORDS, _outputs_at(page)
    beside = "what excites it most, and its kernel" if page.drawn else "its kernel"
    canvas.text(fit(page.inputs, right - left - _BETWEEN, HEADING), left, 28, HEADING)
    words = f"the inputs with most of it: {beside}; below, its share of the factor"
    canvas.text(fit(words, right - left - _BETWEEN, TINY), left, 46, TINY)
    canvas.text(fit(page.outputs, WIDTH - MARGIN - right, HEADING), right, 28, HEADING)
    canvas.text("the units that have most of it, and how much beside the first", right, 46, TINY)
    return canvas


def _draw_row(page: OverviewPage, row: FactorRow) -> Canvas:
    canvas = blank_page(_ROW)
    canvas.line((MARGIN, 0), (WIDTH - MARGIN - 1, 0), RULE)
    canvas.text(row.title, MARGIN, 28, HEADING)
    draw_lines(canvas, [fit(line, _WORDS - 16, SMALL) for line in row.lines], MARGIN, 50)
    wide, top = _wide(page), 28
    for at, one in enumerate(row.inputs):
        x = MARGIN + _WORDS + at * (wide + _BETWEEN)
        canvas.text(fit(one.label, wide, SMALL), x, top - 6, SMALL)
        if page.drawn:
            draw_icon(canvas, one.optimum, x, top, _TILE)
        if one.kernel is not None:
            draw_kernel(canvas, one.kernel, row.limit, x + wide - _TILE, top, _TILE)
        canvas.text(fit(one.under, wide, TINY), x, top + _TILE + 14, TINY)
    right = _outputs_at(page)
    _draw_arrow(canvas, right - _ARROW + 2, right - _BETWEEN, top + _TILE // 2)
    for at, one in enumerate(row.outputs):
        x = right + at * (_TILE + _BETWEEN)
        canvas.text(fit(one.label, _TILE + _BETWEEN - 4, SMALL), x, top - 6, SMALL)
        if page.drawn:
            draw_icon(canvas, one.optimum, x, top, _TILE)
        below = top + (_TILE + 14 if page.drawn else 14)
        canvas.text(fit(one.under, _TILE + _BETWEEN - 4, TINY), x, below, TINY)
    return canvas


def _draw_arrow(canvas: Canvas, start: int, end: int, y: int) -> None:
    canvas.line((start, y), (end, y), _INK)
    for side in (-5, 5):
        canvas.line((end - 7, y + side), (end, y), _INK, smooth=True)
