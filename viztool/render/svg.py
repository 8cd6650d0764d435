"""A canvas as an SVG: words as words, maps in their own cells, curves as curves.

Written here, not by a library: what is asked of it are seven kinds of elements, and two things that the writers at hand
do not give. Each text says how wide it is, so that nothing overlaps in a font that the reader does not have; and maps
are marked as cells, so that no viewer blurs them.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from html import escape

import cv2
import numpy as np

from viztool.render.canvas import (
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
    Points,
    Text,
    embedded,
    runs,
)
from viztool.render.colormaps import Picture
from viztool.render.text import Color, text_width

_FONTS = "Rubik, 'DejaVu Sans', Verdana, 'Noto Sans', sans-serif"  # OpenCV's "sans" is Rubik


def svg(canvas: Canvas, note: str = "") -> bytes:
    """The canvas as a file. note: said in its metadata."""
    size = f'width="{canvas.width}" height="{canvas.height}"'
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'{size} viewBox="0 0 {canvas.width} {canvas.height}" font-family="{_FONTS}">',
        *([f'<metadata id="viztool">{_escaped(note)}</metadata>'] if note else []),
        f'<rect {size} fill="#ffffff"/>',
        *_elements(canvas),
        "</svg>",
    ]
    return ("\n".join(lines) + "\n").encode()


def _elements(canvas: Canvas) -> Iterator[str]:
    for drawn in canvas.drawn:
        if isinstance(drawn, Placed):
            yield f'<g transform="translate({drawn.x} {drawn.y})">'
            yield from _elements(drawn.canvas)
            yield "</g>"
        else:
            yield _element(drawn)


def _element(drawn: Drawn) -> str:
    match drawn:
        case Text(text, x, baseline, style):
            return (
                f'<text x="{x}" y="{baseline}" font-size="{style.size}" font-weight="{style.weight}" '
                f'fill="{_hex(style.color)}" textLength="{text_width(text, style)}" lengthAdjust="spacingAndGlyphs" '
                f'xml:space="preserve">{_escaped(text)}</text>'
            )
        case Image(x, y, (height, width)):
            sharp = "" if drawn.smooth else ' style="image-rendering:pixelated"'
            return (
                f'<image x="{x}" y="{y}" width="{width}" height="{height}" preserveAspectRatio="none"{sharp} '
                f'xlink:href="data:image/png;base64,{_png(embedded(drawn))}"/>'
            )
        case Fill(x, y, width, height, color):
            return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="{_hex(color)}"/>'
        case Frame(x, y, width, height, color, thickness):
            return (
                f'<rect x="{x + 0.5}" y="{y + 0.5}" width="{width - 1}" height="{height - 1}" fill="none" '
                f'stroke="{_hex(color)}" stroke-width="{thickness}"/>'
            )
        case Line(start, end, color):
            way = f"M{start[0] + 0.5} {start[1] + 0.5}L{end[0] + 0.5} {end[1] + 0.5}"
            return f'<path d="{way}" stroke="{_hex(color)}" stroke-linecap="square"/>'
        case Curve(points, color, thickness):
            way = "".join(_way(run) for run in runs(points))
            return (
                f'<path d="{way}" fill="none" stroke="{_hex(color)}" stroke-width="{thickness}" '
                'stroke-linejoin="round"/>'
            )
        case Area(points, color):
            way = "".join(f"{_way(run)}Z" for run in runs(points))
            return f'<path d="{way}" fill="{_hex(color)}" fill-opacity="0.2"/>'
        case Disc(x, y, radius, color):
            return f'<circle cx="{x + 0.5:.2f}" cy="{y + 0.5:.2f}" r="{radius}" fill="{_hex(color)}"/>'
        case _:
            raise TypeError(f"{type(drawn).__name__} is not drawn by itself")


def _way(points: Points) -> str:
    return "M" + "L".join(f"{x + 0.5:.2f} {y + 0.5:.2f}" for x, y in points)


def _png(picture: Picture) -> str:
    _, content = cv2.imencode(".png", cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2BGR))
    return base64.b64encode(content.tobytes()).decode()


def _hex(color: Color) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)


def _escaped(text: str) -> str:
    """As XML has it, which knows no control characters and no halves of a pair."""
    known = (each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
    return escape("".join(known), quote=False)
