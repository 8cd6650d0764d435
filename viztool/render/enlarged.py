"""A canvas at another size, drawn anew: words stay words, pictures are drawn at their new size."""

from __future__ import annotations

from dataclasses import replace

from viztool.render.canvas import Area, Canvas, Curve, Disc, Drawn, Fill, Frame, Image, Line, Placed, Text
from viztool.render.text import text_width


def enlarged(canvas: Canvas, factor: float) -> Canvas:
    """The same canvas, so many times as high and wide."""
    page = Canvas(round(canvas.height * factor), round(canvas.width * factor))
    page.drawn = [_larger(drawn, factor) for drawn in canvas.drawn]
    return page


def _larger(drawn: Drawn, factor: float) -> Drawn:
    def at(length: float) -> int:
        return round(length * factor)

    def span(start: int, length: int) -> int:
        # Both ends are rounded: what touched, still touches, and nothing is lost.
        return max(1, at(start + length) - at(start))

    match drawn:
        case Text():
            return _larger_text(drawn, factor)
        case Image(x, y, (height, width)):
            return replace(drawn, x=at(x), y=at(y), size=(span(y, height), span(x, width)))
        case Fill(x, y, width, height):
            return replace(drawn, x=at(x), y=at(y), width=span(x, width), height=span(y, height))
        case Frame(x, y, width, height, _, thickness):
            thick = max(1, at(thickness))
            return replace(drawn, x=at(x), y=at(y), width=span(x, width), height=span(y, height), thickness=thick)
        case Line(start, end):
            return replace(drawn, start=(at(start[0]), at(start[1])), end=(at(end[0]), at(end[1])))
        case Curve(points, _, thickness):
            return replace(drawn, points=points * factor, thickness=max(1, at(thickness)))
        case Area(points):
            return replace(drawn, points=points * factor)
        case Disc(x, y, radius):
            return replace(drawn, x=x * factor, y=y * factor, radius=max(1, at(radius)))
        case Placed(x, y, inner):
            return Placed(at(x), at(y), enlarged(inner, factor))


def _larger_text(drawn: Text, factor: float) -> Text:
    """In the largest letters that take no more than the room they had; the end that keeps its place keeps it."""
    had = text_width(drawn.text, drawn.style)
    style = drawn.style.with_size(max(6, round(drawn.style.size * factor)))
    while style.size > 6 and text_width(drawn.text, style) > had * factor:
        style = style.with_size(style.size - 1)
    spare = had * factor - text_width(drawn.text, style)
    share = {"left": 0.0, "center": 0.5, "right": 1.0}[drawn.align]
    x = round(drawn.x * factor + share * spare)
    return replace(drawn, x=x, baseline=round(drawn.baseline * factor), style=style)
