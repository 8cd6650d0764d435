"""A unit between what it is made of and what it feeds: lines as wide as what was measured, pictures at their ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from viztool.render.canvas import Align, Canvas, stack
from viztool.render.colormaps import Picture
from viztool.render.heading import draw_heading
from viztool.render.kernel_row import KernelRow, draw_kernels
from viztool.render.numbers import number
from viztool.render.parts import MARGIN, WIDTH, blank_page, draw_footer, draw_lines
from viztool.render.text import BODY, HEADING, RULE, SMALL, TINY, Color, fit

_TILE, _GAP = 84, 8
_ROW = 122
_HEAD = 78
_UNIT = 128
_DRIVES: Color = (178, 46, 48)
_HOLDS_BACK: Color = (42, 98, 164)
_NOTHING: Color = (150, 156, 162)
_WIDEST, _FINEST = 13, 1
_BLANK: Color = (246, 247, 248)
_BENDS = 24  # straight pieces of a line's curve


@dataclass(frozen=True, eq=False)
class Node:
    """A channel or a class. pictures: at its end of the line, the same number at all of a side; label: over them.

    under: a line below them. effect, error: on its line; a unit has none.
    """

    label: str
    pictures: Sequence[Picture | None] = ()
    under: str = ""
    effect: float = 0.0
    error: str = ""


@dataclass(frozen=True, eq=False)
class Side:
    """All that is drawn on one side. title, words: over it. columns: over each picture. more: below the last."""

    title: str
    words: str
    nodes: Sequence[Node]
    columns: Sequence[str] = ()
    more: str = ""


@dataclass(frozen=True, eq=False)
class CircuitPage:
    """All of it. left, right: inputs and outputs. facts: lines at the foot, a heading and words each."""

    title: str
    subtitle: str
    notes: Sequence[str]
    left: Side
    unit: Node
    right: Side
    facts: Sequence[tuple[str, Sequence[str]]]
    footer: str
    kernels: Sequence[KernelRow] = field(default=())


def circuit_page(page: CircuitPage) -> Canvas:
    """Draw the sheet, as high as it needs to be."""
    parts = [draw_heading(page.title, page.subtitle, page.notes), _draw_graph(page)]
    parts += [draw_kernels(row) for row in page.kernels]
    return stack([*parts, draw_facts(page.facts), draw_footer(page.footer)])


def _draw_graph(page: CircuitPage) -> Canvas:
    rows = max(len(page.left.nodes), len(page.right.nodes), 2)
    canvas = blank_page(_HEAD + rows * _ROW + 18)
    canvas.line((MARGIN, 0), (WIDTH - MARGIN - 1, 0), RULE)
    wide = _TILE * 2 + _GAP
    left_end = MARGIN + wide + 12
    right_start = WIDTH - MARGIN - wide - 12
    count = max(1, len(page.unit.pictures))
    width = count * (_UNIT + _GAP) - _GAP
    unit_left, unit_right = WIDTH // 2 - width // 2, WIDTH // 2 + width // 2
    middle = _HEAD + rows * _ROW // 2
    _draw_side(canvas, page.left, MARGIN, rows, (left_end, unit_left - 10), middle)
    _draw_side(canvas, page.right, right_start + 12, rows, (right_start, unit_right + 10), middle)
    _draw_unit(canvas, page.unit, unit_left, middle)
    return canvas


def _draw_side(canvas: Canvas, side: Side, x: int, rows: int, ends: tuple[int, int], middle: int) -> None:
    """ends: where lines begin at the nodes, and where they end at the unit."""
    room = 400
    at_right = ends[0] > ends[1]
    canvas.text(fit(side.title, room, HEADING), WIDTH - MARGIN if at_right else x, 24, HEADING, _end(at_right))
    canvas.text(fit(side.words, room, TINY), WIDTH - MARGIN if at_right else x, 42, TINY, _end(at_right))
    largest = max((abs(node.effect) for node in side.nodes), default=0.0)
    top = _HEAD + (rows - len(side.nodes)) * _ROW // 2
    for at, node in enumerate(side.nodes):
        y = top + at * _ROW
        centre = y + 16 + _TILE // 2
        arrives = middle + round((at - (len(side.nodes) - 1) / 2) * 16)
        _draw_edge(canvas, (ends[0], centre), (ends[1], arrives), node.effect, largest)
    for at, node in enumerate(side.nodes):  # over the lines
        y = top + at * _ROW
        _draw_node(canvas, node, x, y)
        if at == 0:
            for place, column in enumerate(side.columns):
                canvas.text(column, x + place * (_TILE + _GAP), y - 8, TINY)
        _draw_number(canvas, node, ends, y + 16 + _TILE // 2, middle)
    below = top + len(side.nodes) * _ROW + 6
    canvas.text(fit(side.more, room, TINY), WIDTH - MARGIN if at_right else x, below, TINY, _end(at_right))


def _end(at_right: bool) -> Align:
    return "right" if at_right else "left"


def _draw_node(canvas: Canvas, node: Node, x: int, y: int) -> None:
    width = 2 * _TILE + _GAP
    if not node.pictures:
        canvas.text(fit(node.label, width, BODY), x, y + 16 + _TILE // 2 + 5, BODY)
        return
    canvas.text(fit(node.label, width, SMALL), x, y + 12, SMALL)
    for at, picture in enumerate(node.pictures):
        draw_icon(canvas, picture, x + at * (_TILE + _GAP), y + 16, _TILE)
    canvas.text(fit(node.under, width, TINY), x, y + 16 + _TILE + 13, TINY)


def _draw_unit(canvas: Canvas, unit: Node, x: int, middle: int) -> None:
    """Its words are as wide as two pictures, also where there is one."""
    room = 2 * _UNIT + _GAP
    canvas.text(fit(unit.label, room, HEADING), WIDTH // 2, middle - _UNIT // 2 - 8, HEADING, "center")
    for at, picture in enumerate(unit.pictures):
        draw_icon(canvas, picture, x + at * (_UNIT + _GAP), middle - _UNIT // 2, _UNIT)
    canvas.text(fit(unit.under, room, TINY), WIDTH // 2, middle + _UNIT // 2 + 15, TINY, "center")


def draw_icon(canvas: Canvas, picture: Picture | None, x: int, y: int, side: int) -> None:
    """A picture in the middle of a square; of none the square alone."""
    canvas.fill(x, y, side, side, _BLANK)
    if picture is not None:
        h, w = picture.shape[:2]
        scale = side / max(h, w)
        size = max(1, round(h * scale)), max(1, round(w * scale))
        canvas.picture(x + (side - size[1]) // 2, y + (side - size[0]) // 2, picture, size, smooth=max(h, w) > 16)
    canvas.frame(x, y, side, side, RULE)


def _colour(effect: float) -> Color:
    return _DRIVES if effect > 0 else _HOLDS_BACK if effect < 0 else _NOTHING


def _draw_edge(canvas: Canvas, start: tuple[int, int], end: tuple[int, int], effect: float, largest: float) -> None:
    share = abs(effect) / largest if largest > 0 else 0.0
    color = _colour(effect)
    along = np.linspace(0, 1, _BENDS)
    bend = along * along * (3 - 2 * along)  # leaves level and arrives level
    points = np.stack([start[0] + along * (end[0] - start[0]), start[1] + bend * (end[1] - start[1])], 1)
    canvas.curve(points, color, max(_FINEST, round(_WIDEST * share)))


def _draw_number(canvas: Canvas, node: Node, ends: tuple[int, int], centre: int, middle: int) -> None:
    """On the side of the line that it does not bend to."""
    words = f"{_signed(node.effect)}{node.error}"
    at_right = ends[0] > ends[1]
    color = _colour(node.effect)
    x, y = ends[0] - 4 if at_right else ends[0] + 4, centre - 13 if centre <= middle else centre + 23
    canvas.text(words, x, y, SMALL.with_color(color), _end(at_right))


def draw_facts(facts: Sequence[tuple[str, Sequence[str]]]) -> Canvas:
    """Columns at the foot of a sheet, a heading and lines each."""
    columns = max(1, len(facts))
    width = (WIDTH - 2 * MARGIN) // columns
    height = 52 + 19 * max((len(lines) for _, lines in facts), default=0)
    canvas = blank_page(height)
    canvas.line((MARGIN, 0), (WIDTH - MARGIN - 1, 0), RULE)
    for at, (heading, lines) in enumerate(facts):
        x = MARGIN + at * width
        canvas.text(fit(heading, width - 24, HEADING), x, 26, HEADING)
        draw_lines(canvas, [fit(line, width - 24, SMALL) for line in lines], x, 50)
    return canvas


def _signed(value: float) -> str:
    """Three digits that count, with a sign."""
    text = number(value, ".3g")
    return f"+{text}" if value > 0 else text
