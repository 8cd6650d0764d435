"""A unit beside the inputs that it has the longest kernels from: what weights alone say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from viztool.render.canvas import Canvas, stack
from viztool.render.circuit_sheet import draw_icon
from viztool.render.colormaps import Map, Picture
from viztool.render.heading import draw_heading
from viztool.render.kernel_row import KernelRow, draw_kernel, draw_kernels
from viztool.render.parts import MARGIN, WIDTH, blank_page, draw_footer
from viztool.render.text import HEADING, RULE, SMALL, TINY, fit

_TILE, _GAP, _BETWEEN = 92, 8, 24
_UNIT = 128
_ROW = 142
_HEAD = 62


@dataclass(frozen=True, eq=False)
class Input:
    """kernel: (h, w). optimum: a picture, or None where there is none. label, under: over and below them."""

    label: str
    optimum: Picture | None
    kernel: Map
    under: str


@dataclass(frozen=True, eq=False)
class WiringPage:
    """All of it. drawn: whether optima have a place. limit: of the kernels' colours. rows: more kernels below."""

    title: str
    subtitle: str
    notes: Sequence[str]
    unit: str
    optimum: Picture | None
    drawn: bool
    heading: str
    words: str
    inputs: Sequence[Input]
    limit: float
    rows: Sequence[KernelRow]
    footer: str


def wiring_page(page: WiringPage) -> Canvas:
    """Draw the sheet, as high as it needs to be."""
    parts = [draw_heading(page.title, page.subtitle, page.notes), _draw_inputs(page)]
    parts += [draw_kernels(row) for row in page.rows]
    return stack([*parts, draw_footer(page.footer)])


def _draw_inputs(page: WiringPage) -> Canvas:
    left = MARGIN + (_UNIT + 56 if page.drawn else 0)
    wide = 2 * _TILE + _GAP if page.drawn else _TILE
    columns = max(1, (WIDTH - MARGIN - left + _BETWEEN) // (wide + _BETWEEN))
    rows = max(1, -(-len(page.inputs) // columns))
    canvas = blank_page(_HEAD + rows * _ROW + 8)
    canvas.line((MARGIN, 0), (WIDTH - MARGIN - 1, 0), RULE)
    if page.drawn:
        canvas.text(fit(page.unit, _UNIT + 40, HEADING), MARGIN, 26, HEADING)
        canvas.text("what excites it most", MARGIN, 44, TINY)
        draw_icon(canvas, page.optimum, MARGIN, _HEAD + 2, _UNIT)
    canvas.text(fit(page.heading, WIDTH - MARGIN - left, HEADING), left, 26, HEADING)
    canvas.text(fit(page.words, WIDTH - MARGIN - left, TINY), left, 44, TINY)
    for at, one in enumerate(page.inputs):
        x, y = left + at % columns * (wide + _BETWEEN), _HEAD + at // columns * _ROW
        canvas.text(fit(one.label, wide, SMALL), x, y + 12, SMALL)
        if page.drawn:
            draw_icon(canvas, one.optimum, x, y + 18, _TILE)
        draw_kernel(canvas, one.kernel, page.limit, x + wide - _TILE, y + 18, _TILE)
        canvas.text(fit(one.under, wide, TINY), x, y + 18 + _TILE + 14, TINY)
    return canvas
