"""The head of a sheet that shows no photo of its own: title at the left, notes at the right."""

from __future__ import annotations

from collections.abc import Sequence

from viztool.render.canvas import Canvas
from viztool.render.parts import LINE, MARGIN, WIDTH, blank_page, draw_lines
from viztool.render.text import SMALL, TITLE, fit, wrap

_NOTES = 560
_BETWEEN = 7  # from one note to the next, besides the line


def draw_heading(title: str, subtitle: str, notes: Sequence[str]) -> Canvas:
    """The strip at the head, as high as the notes need."""
    x = WIDTH - MARGIN - _NOTES
    room = x - 40 - MARGIN
    wrapped = [wrap(note, _NOTES, SMALL) for note in notes]
    under = wrap(subtitle, room, SMALL)
    height = max(MARGIN + sum(LINE * len(lines) + _BETWEEN for lines in wrapped), MARGIN + 34 + LINE * len(under))
    page = blank_page(height + 14)
    page.text(fit(title, room, TITLE), MARGIN, MARGIN + 22, TITLE)
    draw_lines(page, under, MARGIN, MARGIN + 47)
    y = MARGIN + 11
    for lines in wrapped:
        y = draw_lines(page, lines, x, y) + _BETWEEN
    return page
