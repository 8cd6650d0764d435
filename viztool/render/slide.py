"""A slide for a lecture, 16 : 9: a title, a picture as large as it can be, and the sentence that it shows."""

from __future__ import annotations

from collections.abc import Sequence

from viztool.render.canvas import Canvas, stack
from viztool.render.demo_sheet import BADGE, VERDICTS, Stated
from viztool.render.enlarged import enlarged
from viztool.render.panels import GAP, ROOM, Panel
from viztool.render.text import GREY, Style, fit, text_width, wrap

HEIGHT, SLIDE_WIDTH = 1080, 1920
_MARGIN = 80
_TITLE, _SENTENCE, _CONDITION, _FOOT = Style(64, 600), Style(36), Style(28, color=GREY), Style(18, color=GREY)
_FEW = 8
_MOST = 3.0  # times its size on the sheet: beyond that a table shouts


def slide(title: str, panels: Sequence[Panel], stated: Stated | None, lines: Sequence[str], footer: str) -> Canvas:
    """Draw the slide. lines: stand where there is no claim."""
    room = SLIDE_WIDTH - 2 * _MARGIN
    words = _words(stated, lines, room)
    page = Canvas(HEIGHT, SLIDE_WIDTH)
    page.text(fit(title, room, _TITLE), _MARGIN, 128, _TITLE)
    bottom = HEIGHT - 60 - words.height
    picture, top = _picture(panels, room, bottom - 40 - 180), 180
    page.place(picture, (SLIDE_WIDTH - picture.width) // 2, top + max(0, (bottom - 40 - top - picture.height) // 2))
    page.place(words, _MARGIN, bottom)
    page.text(fit(footer, room, _FOOT), _MARGIN, HEIGHT - 26, _FOOT)
    return page


def _words(stated: Stated | None, lines: Sequence[str], room: int) -> Canvas:
    """The verdict beside the sentence, and below it what is to be said of it."""
    if stated is None:
        said = [line for text in lines[:1] for line in wrap(text, room, _SENTENCE)][:3]
        return stack([_line(line, _SENTENCE, room) for line in said] or [Canvas(1, room)])
    word, color = VERDICTS[stated.verdict]
    badge = BADGE.with_size(24)
    parts = [_line(line, _SENTENCE, room) for line in wrap(stated.sentence, room, _SENTENCE)]
    mark = Canvas(62, room)
    mark.fill(0, 8, text_width(word, badge) + 32, 40, color)
    mark.text(word, 16, 37, badge)
    return stack([mark, *parts, *(_line(line, _CONDITION, room) for line in wrap(stated.condition, room, _CONDITION))])


def _line(text: str, style: Style, room: int) -> Canvas:
    line = Canvas(style.size + 14, room)
    line.text(text, 0, style.size + 2, style)
    return line


def _picture(panels: Sequence[Panel], width: int, height: int) -> Canvas:
    """The panels, in the rows in which they come out largest."""
    drawn = [panel.draw() for panel in panels]
    if not drawn:
        return Canvas(1, 1)
    # Many stand in rows that mean something, as on the sheet; of a few each arrangement is as good.
    limits = range(max(piece.width for piece in drawn), 2 * ROOM, 60) if len(drawn) <= _FEW else (ROOM,)
    choices = [_rows(drawn, limit) for limit in limits]
    best = max(choices, key=lambda page: min(width / page.width, height / page.height))
    return enlarged(best, min(width / best.width, height / best.height, _MOST))


def _rows(pieces: Sequence[Canvas], limit: int) -> Canvas:
    """The pieces beside and below one another, no wider than that."""
    places: list[tuple[Canvas, int, int]] = []
    x = y = tall = wide = 0
    for piece in pieces:
        if x and x + piece.width > limit:
            x, y, tall = 0, y + tall + GAP, 0
        places.append((piece, x, y))
        wide, tall = max(wide, x + piece.width), max(tall, piece.height)
        x += piece.width + GAP
    page = Canvas(y + tall, wide)
    for piece, left, top in places:
        page.place(piece, left, top)
    return page
