"""A demo on a sheet: the photo and the claim with its verdict, then bands of panels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from viztool.render.canvas import Canvas, stack
from viztool.render.colormaps import Picture
from viztool.render.panels import GAP, LEGEND, ROOM, Panel
from viztool.render.parts import LINE, MARGIN, WIDTH, blank_page, draw_footer, draw_lines
from viztool.render.text import BODY, HEADING, RULE, SMALL, TITLE, Color, Style, fit, text_width, wrap

_PHOTO = (216, 252)  # the most it may take, height × width
_NOTES = 300
VERDICTS: dict[str, tuple[str, Color]] = {
    "true": ("TRUE", (38, 121, 84)),
    "conditional": ("WITH A CONDITION", (166, 104, 12)),
    "false": ("FALSE", (178, 34, 52)),
}
BADGE = Style(11, 700, (255, 255, 255))
_FAILS: Color = (196, 106, 28)


@dataclass(frozen=True)
class Band:
    """title and lines stand at the left, the panels beside them. fails: whether it shows where the claim fails.

    slide: whether it is the one to be shown in a lecture.
    """

    title: str
    lines: Sequence[str] = ()
    panels: Sequence[Panel] = field(default_factory=tuple)
    fails: bool = False
    slide: bool = False

    @property
    def words(self) -> tuple[str, ...]:
        return (self.title, *self.lines, *(word for panel in self.panels for word in panel.words))


@dataclass(frozen=True)
class Stated:
    """A claim: its sentence, "true", "conditional" or "false", and what is to be said about that."""

    sentence: str
    verdict: str
    condition: str


@dataclass(frozen=True)
class DemoSheet:
    """photo: (H, W, 3), or None. notes: at the right of the head."""

    title: str
    subtitle: str
    photo: Picture | None
    claims: Sequence[Stated]
    notes: Sequence[str]
    bands: Sequence[Band]
    footer: str


def demo_sheet(sheet: DemoSheet) -> Canvas:
    """Draw the sheet, as high as it needs to be."""
    return stack([_draw_head(sheet), *map(_draw_band, sheet.bands), draw_footer(sheet.footer)])


def _draw_head(sheet: DemoSheet) -> Canvas:
    x = MARGIN + LEGEND
    notes_x = WIDTH - MARGIN - _NOTES if sheet.notes else WIDTH - MARGIN
    room = notes_x - (44 if sheet.notes else 0) - x
    height, width = (0, 0) if sheet.photo is None else _fitted(sheet.photo)
    wrapped = [(wrap(claim.sentence, room, BODY), wrap(claim.condition, room, SMALL)) for claim in sheet.claims]
    subtitle = wrap(sheet.subtitle, room, SMALL)
    claims = sum(30 + 20 * len(sentence) + LINE * len(condition) + 12 for sentence, condition in wrapped)
    notes = [wrap(note, _NOTES, SMALL) for note in sheet.notes]
    tall = max(34 + LINE * len(subtitle) + 12 + claims, height + 14, sum(LINE * len(note) + 9 for note in notes) + 11)
    page = blank_page(MARGIN + tall + 16)
    if sheet.photo is not None:
        page.picture(MARGIN, MARGIN, sheet.photo, (height, width), smooth=True)
    page.text(fit(sheet.title, room, TITLE), x, MARGIN + 22, TITLE)
    y = draw_lines(page, subtitle, x, MARGIN + 47) + 6
    for claim, (sentence, condition) in zip(sheet.claims, wrapped, strict=True):
        y = _draw_claim(page, claim.verdict, sentence, condition, x, y)
    y = MARGIN + 11
    for note in notes:
        y = draw_lines(page, note, notes_x, y) + 9
    return page


def _draw_claim(page: Canvas, verdict: str, sentence: Sequence[str], condition: Sequence[str], x: int, y: int) -> int:
    word, color = VERDICTS[verdict]
    page.fill(x, y, text_width(word, BADGE) + 15, 19, color)
    page.text(word, x + 7, y + 13, BADGE)
    y += 38
    for line in sentence:
        page.text(line, x, y, BODY)
        y += 20
    return draw_lines(page, condition, x, y) + 4


def _draw_band(band: Band) -> Canvas:
    rows = _rows([panel.draw() for panel in band.panels])
    title = wrap(band.title, LEGEND - 24, HEADING)
    legend = [wrap(line, LEGEND - 24, SMALL) for line in band.lines]
    words = 22 * len(title) + sum(LINE * len(line) + 6 for line in legend) + 8
    panels = sum(max(piece.height for piece in row) + GAP for row in rows)
    page = blank_page(24 + max(words, panels) + 10)
    page.line((MARGIN, 0), (WIDTH - MARGIN - 1, 0), RULE)
    if band.fails:
        page.fill(MARGIN - 14, 24, 4, page.height - 43, _FAILS)
    y = 38
    for line in title:
        page.text(line, MARGIN, y, HEADING.with_color(_FAILS) if band.fails else HEADING)
        y += 22
    for paragraph in legend:
        y = draw_lines(page, paragraph, MARGIN, y) + 6
    y = 24
    for row in rows:
        x = MARGIN + LEGEND
        for piece in row:
            page.place(piece, x, y)
            x += piece.width + GAP
        y += max(piece.height for piece in row) + GAP
    return page


def _rows(pieces: Sequence[Canvas]) -> list[list[Canvas]]:
    """The pieces in rows that fit beside the legend."""
    rows: list[list[Canvas]] = []
    used = 0
    for piece in pieces:
        if piece.width > ROOM:
            raise ValueError(f"a panel is {piece.width} pixels wide, and a band has room for {ROOM}")
        if not rows or used + GAP + piece.width > ROOM:
            rows.append([])
            used = -GAP
        rows[-1].append(piece)
        used += GAP + piece.width
    return rows


def _fitted(photo: Picture) -> tuple[int, int]:
    h, w = photo.shape[:2]
    scale = min(_PHOTO[0] / h, (_PHOTO[1] - 32) / w)
    return max(1, round(h * scale)), max(1, round(w * scale))
