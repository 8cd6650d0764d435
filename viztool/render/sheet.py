"""A contact sheet: the photo and what the network says of it, then one band of maps per layer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from viztool.render.canvas import Canvas, Size, stack
from viztool.render.colormaps import Picture
from viztool.render.numbers import number
from viztool.render.parts import LINE, MARGIN, WIDTH, blank_page, draw_bar, draw_footer, draw_lines
from viztool.render.predictions import Predictions
from viztool.render.scaling import scaled
from viztool.render.text import HEADING, RULE, SMALL, TINY, TITLE, fit, text_width, wrap
from viztool.render.tiles import Tile, draw_tile

_LEGEND = 252  # the column of words at the left of each band
_MANY = 64  # tiles; beyond them, smaller ones
_SIDE = 112  # a multiple of 7, 14, 28, 56 and 112, the sides of most networks' maps
_BAR = 168
_LONGEST = 6.0  # height : width of a tile at most; longer inputs are drawn shorter
_PHOTO = (216, 324)  # the most it may take, height × width
_NOTES = 300
_WORDS = 560


@dataclass(frozen=True)
class Header:
    """photo: any size. seen: (top, left, bottom, right) in it, the part that the network is given."""

    title: str
    subtitle: str
    photo: Picture
    seen: tuple[float, float, float, float] | None
    predictions: Predictions
    notes: Sequence[str]


@dataclass(frozen=True)
class Band:
    """One layer. bar: what stands under the left end, the middle and the right end of its colour bar."""

    name: str
    lines: Sequence[str]
    tiles: Sequence[Tile]
    signed: bool
    bar: tuple[str, str, str]


@dataclass(frozen=True)
class Sheet:
    """aspect: height / width of the network's input. under: what it was given, to lay the maps over, or None."""

    header: Header
    bands: Sequence[Band]
    footer: str
    aspect: float = 1.0
    under: Picture | None = None


def contact_sheet(sheet: Sheet) -> Canvas:
    """Draw the sheet, as high as it needs to be."""
    bands = [_draw_band(band, sheet.aspect, sheet.under) for band in sheet.bands]
    return stack([_draw_header(sheet.header), *bands, draw_footer(sheet.footer)])


def _draw_header(header: Header) -> Canvas:
    photo = _draw_photo(header.photo, header.seen)
    notes_x = WIDTH - MARGIN - _NOTES
    x = MARGIN + photo.width + 32
    room = min(notes_x - 44 - x, _WORDS)
    page = blank_page(MARGIN + _PHOTO[0] + 30)
    page.place(photo, MARGIN, MARGIN)

    page.text(fit(header.title, room, TITLE), x, MARGIN + 22, TITLE)
    y = draw_lines(page, wrap(header.subtitle, room, SMALL), x, MARGIN + 47) + 14
    header.predictions.draw(page, x, y, room)

    y = MARGIN + 11
    for note in header.notes:
        y = draw_lines(page, wrap(note, _NOTES, SMALL), notes_x, y) + 9
    return page


def _draw_photo(photo: Picture, seen: tuple[float, float, float, float] | None) -> Canvas:
    """The photo, fitted into its place, with what lies outside the network's view faded."""
    h, w = photo.shape[:2]
    scale = min(_PHOTO[0] / h, _PHOTO[1] / w)
    size = max(1, round(h * scale)), max(1, round(w * scale))

    def draw(at: Size) -> Picture:
        small = scaled(photo, at)
        if seen is None:
            return small
        zoom = scale * at[0] / size[0]
        top, left, bottom, right = (round(side * zoom) for side in seen)
        faded: Picture = 255 - (255 - small) // np.uint8(3)
        faded[max(top, 0) : bottom, max(left, 0) : right] = small[max(top, 0) : bottom, max(left, 0) : right]
        return faded

    canvas = Canvas(*size)
    canvas.image(0, 0, size, draw, (int(h), int(w)), smooth=True)
    return canvas


def _draw_band(band: Band, aspect: float, under: Picture | None) -> Canvas:
    many = len(band.tiles) > _MANY
    side, gap, caption = (_SIDE // 2, 8, 15) if many else (_SIDE, 16, 19)
    size = _tile_size(side, aspect)
    band = _said_if_smaller(band, size)
    left = MARGIN + _LEGEND
    columns = max(1, (WIDTH - MARGIN - left + gap) // (size[1] + gap))
    rows = -(-len(band.tiles) // columns)
    row_height = size[0] + caption + gap // 2
    page = blank_page(24 + max(rows * row_height, _legend_height(band)) + 14)
    page.line((MARGIN, 0), (WIDTH - MARGIN - 1, 0), RULE)

    _draw_legend(page, band, overlaid=under is not None)
    # Beside every label or none: a score that only some tiles show would seem to be missing from the others.
    scores = all(text_width(_caption(tile), TINY) <= size[1] for tile in band.tiles)
    for index, tile in enumerate(band.tiles):
        y = 24 + index // columns * row_height
        x = left + index % columns * (size[1] + gap)
        page.place(draw_tile(tile, size, under), x, y)
        page.text(_caption(tile) if scores else tile.label, x, y + size[0] + caption - 5, TINY)
    return page


def _said_if_smaller(band: Band, size: tuple[int, int]) -> Band:
    """The band, and a line that says so if its maps have more cells than its tiles have pixels."""
    times = max((tile.values.shape[0] / size[0] for tile in band.tiles), default=0.0)
    if times <= 1:
        return band
    return replace(band, lines=[*band.lines, f"drawn at 1 : {number(times, '.2g')}, areas averaged"])


def _tile_size(side: int, aspect: float) -> tuple[int, int]:
    """(height, width) in the input's proportions, with the area of a square of that side."""
    stretch = min(max(aspect, 1 / _LONGEST), _LONGEST) ** 0.5
    return round(side * stretch), round(side / stretch)


def _caption(tile: Tile) -> str:
    return f"{tile.label}  {tile.score}" if tile.score else tile.label


def _draw_legend(page: Canvas, band: Band, *, overlaid: bool) -> None:
    room = _LEGEND - 24
    y = 38
    for line in _name_lines(band.name, room):
        page.text(line, MARGIN, y, HEADING)
        y += 22
    y = draw_lines(page, [fit(line, room, SMALL) for line in band.lines], MARGIN, y) + 2
    draw_bar(page, MARGIN, y, _BAR, signed=band.signed, overlaid=overlaid, ticks=band.bar)


def _legend_height(band: Band) -> int:
    return 22 * len(_name_lines(band.name, _LEGEND - 24)) + LINE * len(band.lines) + 48


def _name_lines(name: str, room: int) -> list[str]:
    """A layer's name in lines that fit, broken after dots."""
    lines = [""]
    for part in re.findall(r"[^.]*\.?", name):
        if lines[-1] and text_width(lines[-1] + part, HEADING) > room:
            lines.append("")
        lines[-1] += part
    return [fit(line, room, HEADING) for line in lines]
