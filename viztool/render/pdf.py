"""A canvas as a PDF: words as words that can be searched, maps in their own cells, curves as curves.

By matplotlib's backend, which embeds the letters that are used of a font that comes with it (DejaVu Sans, as TrueType):
a paper must not depend on the reader's fonts. Only its renderer is used, no axes and no layout. A letter that the font
lacks, as of Chinese, becomes a mark in its place.
"""

from __future__ import annotations

import io
import threading
from functools import cache
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.path import Path
from matplotlib.transforms import Affine2D, Transform

from viztool.render.canvas import (
    Align,
    Area,
    Canvas,
    Curve,
    Disc,
    Drawn,
    Fill,
    Frame,
    Image,
    Line,
    Placed,
    Text,
    embedded,
    runs,
)
from viztool.render.text import Color, text_width

_POINT = 72 / 96  # of a pixel, as browsers have it
_LONGEST = 14_400  # points; PDF 1.4, appendix C: no page is longer
_GLASS = 0.2
_NARROWER = 0.94  # DejaVu's letters beside Rubik's, that sheets are laid out in: few texts must be smaller still
_LEFT_OF: dict[Align, float] = {"left": 0, "center": 0.5, "right": 1}  # share of the spare room that is left of a text
_lock = threading.Lock()  # matplotlib's settings are one for the whole process


def pdf(canvas: Canvas, note: str = "", maker: str = "viztool") -> bytes:
    """The canvas as a file of one page. note: said in its metadata, as keywords; maker: as the program."""
    point = min(_POINT, _LONGEST / max(canvas.width, canvas.height))
    buffer = io.BytesIO()
    metadata = {"Creator": maker, "Keywords": note, "CreationDate": None}
    with _lock, rc_context({"pdf.fonttype": 42, "pdf.compression": 6}):
        figure = Figure(figsize=(canvas.width * point / 72, canvas.height * point / 72), facecolor="white")
        figure.add_artist(_Sheet(canvas, point))
        figure.savefig(buffer, format="pdf", metadata=metadata)
    return buffer.getvalue()


class _Sheet(Artist):
    """The canvas, as matplotlib draws things. point: how many of them a pixel is."""

    def __init__(self, canvas: Canvas, point: float) -> None:
        super().__init__()
        self._canvas = canvas
        self._point = point

    def draw(self, renderer: RendererBase) -> None:
        place = Affine2D().translate(0, -self._canvas.height).scale(self._point, -self._point)
        _draw_all(renderer, self._canvas, place)


def _draw_all(renderer: RendererBase, canvas: Canvas, place: Transform) -> None:
    for drawn in canvas.drawn:
        if isinstance(drawn, Placed):
            _draw_all(renderer, drawn.canvas, Affine2D().translate(drawn.x, drawn.y) + place)
        else:
            _draw(renderer, drawn, place)


def _draw(renderer: RendererBase, drawn: Drawn, place: Transform) -> None:
    match drawn:
        case Text():
            _write(renderer, drawn, place)
        case Image(x, y, (height, width)):
            _put(renderer, drawn, place)
        case Fill(x, y, width, height, color):
            _shape(renderer, _box(x, y, width, height), place, fill=color)
        case Frame(x, y, width, height, color, thickness):
            _shape(renderer, _box(x + 0.5, y + 0.5, width - 1, height - 1), place, line=color, thickness=thickness)
        case Line(start, end, color):
            way = Path(np.array([start, end]) + 0.5)
            _shape(renderer, way, place, line=color, cap="projecting")
        case Curve(points, color, thickness):
            for run in runs(points):
                _shape(renderer, Path(run + 0.5), place, line=color, thickness=thickness)
        case Area(points, color):
            for run in runs(points):
                outline = np.concatenate([run, run[:1]]) + 0.5
                _shape(renderer, Path(outline, closed=True), place, fill=color, alpha=_GLASS)
        case Disc(x, y, radius, color):
            _shape(renderer, Path.circle((x + 0.5, y + 0.5), radius), place, fill=color)


def _box(x: float, y: float, width: float, height: float) -> Path:
    corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height), (x, y)]
    return Path(corners, closed=True)


def _shape(
    renderer: RendererBase,
    path: Path,
    place: Transform,
    *,
    line: Color | None = None,
    thickness: float = 1,
    cap: Any = "butt",
    fill: Color | None = None,
    alpha: float = 1.0,
) -> None:
    gc = renderer.new_gc()
    gc.set_linewidth(0 if line is None else thickness * _scale(place))
    gc.set_capstyle(cap)
    gc.set_joinstyle("round")
    if line is not None:
        gc.set_foreground(_share(line))
    renderer.draw_path(gc, path, place, None if fill is None else (*_share(fill), alpha))
    gc.restore()


def _write(renderer: RendererBase, drawn: Text, place: Transform) -> None:
    """The text in the width that the sheet has for it."""
    style = drawn.style
    file, known = _font("bold" if style.weight >= 600 else "normal")
    text = "".join(each if ord(each) in known else "\N{REPLACEMENT CHARACTER}" for each in drawn.text)
    font = FontProperties(fname=file, size=style.size)
    wide, _, _ = renderer.get_text_width_height_descent(text, font, False)
    room = text_width(drawn.text, style)
    share = min(_NARROWER, room / max(wide, 1e-6))
    font.set_size(style.size * share * _scale(place))
    x, y = place.transform((drawn.x + _LEFT_OF[drawn.align] * (room - wide * share), drawn.baseline))
    gc = renderer.new_gc()
    gc.set_foreground(_share(style.color))
    renderer.draw_text(gc, x, y, text, font, 0)
    gc.restore()


@cache
def _font(weight: str) -> tuple[str, frozenset[int]]:
    """The font's file, and the letters that it has."""
    file = findfont(FontProperties(family="DejaVu Sans", weight=weight))
    return file, frozenset(get_font(file).get_charmap())


def _put(renderer: RendererBase, image: Image, place: Transform) -> None:
    picture = embedded(image)
    opaque = np.full((*picture.shape[:2], 1), 255, np.uint8)
    height, width = image.size
    x, y = place.transform((image.x, image.y + height))
    gc = renderer.new_gc()
    size = Affine2D().scale(width * _scale(place), height * _scale(place))
    renderer.draw_image(gc, x, y, np.concatenate([picture, opaque], 2)[::-1], size)
    gc.restore()


def _scale(place: Transform) -> float:
    return float(place.get_matrix()[0, 0])


def _share(color: Color) -> tuple[float, float, float]:
    red, green, blue = color
    return red / 255, green / 255, blue / 255
