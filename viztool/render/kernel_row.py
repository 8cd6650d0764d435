"""Kernels in a row, on one scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from viztool.render.canvas import Canvas
from viztool.render.colormaps import Map, colorize
from viztool.render.parts import MARGIN, WIDTH, blank_page
from viztool.render.text import RULE, SMALL, TINY, fit

_TILE, _GAP = 84, 8


@dataclass(frozen=True, eq=False)
class KernelRow:
    """note: what they are. wide: there are few of them, with longer labels beside."""

    note: str
    labels: Sequence[str]
    values: Sequence[Map]
    wide: bool = False


def draw_kernels(row: KernelRow) -> Canvas:
    """A strip of a sheet."""
    canvas = blank_page(34 + _TILE + 34)
    canvas.line((MARGIN, 0), (WIDTH - MARGIN - 1, 0), RULE)
    canvas.text(fit(row.note, WIDTH - 2 * MARGIN, SMALL), MARGIN, 22, SMALL)
    limit = max((float(np.abs(values).max()) for values in row.values), default=0.0)
    x = MARGIN
    for label, values in zip(row.labels, row.values, strict=True):
        draw_kernel(canvas, values, limit, x, 34, _TILE)
        if row.wide:
            room = (WIDTH - 2 * MARGIN) // len(row.values)
            canvas.text(fit(label, room - _TILE - 2 * _GAP, SMALL), x + _TILE + _GAP, 34 + _TILE // 2 + 5, SMALL)
            x += room
        else:
            canvas.text(fit(label, _TILE, TINY), x, 34 + _TILE + 14, TINY)
            x += _TILE + 2 * _GAP
    return canvas


def draw_kernel(canvas: Canvas, values: Map, limit: float, x: int, y: int, side: int) -> None:
    """One kernel (h, w) in its own cells, as large as the square has room for."""
    drawn = colorize(values, limit)
    h, w = drawn.shape[:2]
    scale = side / max(h, w)
    size = max(1, round(h * scale)), max(1, round(w * scale))
    canvas.picture(x, y, drawn, size)
    canvas.frame(x, y, size[1], size[0], RULE)
