"""A sheet before it is pixels: what is drawn where, to be read by the pixels', the SVG's and the PDF's back.

Every sheet is laid out once, in whole pixels. `raster` makes pixels of it with OpenCV, as fast as if it had been drawn
at once; `svg` and `pdf` keep words as words, maps as pictures in their own cells, and curves as curves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from viztool.render.colormaps import Picture
from viztool.render.scaling import scaled
from viztool.render.text import Color, Style, text_width

Size: TypeAlias = tuple[int, int]
"""Height and width in pixels."""
Align: TypeAlias = Literal["left", "center", "right"]
Points: TypeAlias = npt.NDArray[np.floating[Any]]
"""(n, 2): x and y from the middle of the first pixel."""

_DENSEST = 3  # picture pixels in a pixel of the sheet: 288 to an inch, as much as print shows


@dataclass(frozen=True)
class Text:
    """x: its left end. align: which end keeps its place in letters that are narrower."""

    text: str
    x: int
    baseline: int
    style: Style
    align: Align


@dataclass(frozen=True)
class Image:
    """draw: the picture at a size. own: the size that nothing is lost at. smooth: not cells with sharp edges."""

    x: int
    y: int
    size: Size
    draw: Callable[[Size], Picture]
    own: Size
    smooth: bool


@dataclass(frozen=True)
class Fill:
    """A rectangle, full of colour."""

    x: int
    y: int
    width: int
    height: int
    color: Color


@dataclass(frozen=True)
class Frame:
    """The outline of a rectangle; its outermost pixels, if it is one thick."""

    x: int
    y: int
    width: int
    height: int
    color: Color
    thickness: int


@dataclass(frozen=True)
class Line:
    """From one pixel to another, both included. smooth: with soft edges, for those that are neither level nor plumb."""

    start: tuple[int, int]
    end: tuple[int, int]
    color: Color
    smooth: bool


@dataclass(frozen=True, eq=False)
class Curve:
    """Points joined by straight lines."""

    points: Points
    color: Color
    thickness: int


@dataclass(frozen=True, eq=False)
class Area:
    """What lies inside these points, coloured as glass would: areas that overlap all stay visible."""

    points: Points
    color: Color


@dataclass(frozen=True)
class Disc:
    """Round (x, y), in pixels."""

    x: float
    y: float
    radius: int
    color: Color


@dataclass(frozen=True)
class Placed:
    """Another canvas, whose first pixel lies at (x, y)."""

    x: int
    y: int
    canvas: Canvas


Drawn: TypeAlias = Text | Image | Fill | Frame | Line | Curve | Area | Disc | Placed


class Canvas:
    """Something drawn: what was done to a white page, in its order."""

    def __init__(self, height: int, width: int) -> None:
        self.height = height
        self.width = width
        self.drawn: list[Drawn] = []

    def text(self, text: str, x: int, baseline: int, style: Style, align: Align = "left") -> None:
        """Write; x is the text's left end, centre or right end."""
        if not text:
            return
        if align != "left":
            width = text_width(text, style)
            x -= width if align == "right" else width // 2
        self.drawn.append(Text(text, x, baseline, style, align))

    def image(
        self, x: int, y: int, size: Size, draw: Callable[[Size], Picture], own: Size, *, smooth: bool = False
    ) -> None:
        """A picture that is drawn when its size is known: what is a map in cells has fewer of them than pixels here."""
        self.drawn.append(Image(x, y, size, draw, own, smooth))

    def picture(self, x: int, y: int, picture: Picture, size: Size | None = None, *, smooth: bool = False) -> None:
        """A picture (h, w, 3), as large as it is or at this size; see `scaled`."""
        own = (int(picture.shape[0]), int(picture.shape[1]))
        size = own if size is None else size
        soft = smooth or own[0] > size[0] or own[1] > size[1]
        self.image(x, y, size, lambda at: scaled(picture, at, smooth=smooth), own, smooth=soft)

    def fill(self, x: int, y: int, width: int, height: int, color: Color) -> None:
        if width > 0 and height > 0:
            self.drawn.append(Fill(x, y, width, height, color))

    def frame(self, x: int, y: int, width: int, height: int, color: Color, thickness: int = 1) -> None:
        self.drawn.append(Frame(x, y, width, height, color, thickness))

    def line(self, start: tuple[int, int], end: tuple[int, int], color: Color, *, smooth: bool = False) -> None:
        self.drawn.append(Line(start, end, color, smooth))

    def curve(self, points: Points, color: Color, thickness: int) -> None:
        self.drawn.append(Curve(points, color, thickness))

    def area(self, points: Points, color: Color) -> None:
        self.drawn.append(Area(points, color))

    def disc(self, x: float, y: float, radius: int, color: Color) -> None:
        self.drawn.append(Disc(x, y, radius, color))

    def place(self, canvas: Canvas, x: int, y: int) -> None:
        """Put another canvas on this one, in place of what is there."""
        self.drawn.append(Placed(x, y, canvas))


def embedded(image: Image) -> Picture:
    """What a file of vectors holds of an image: all of it, but of photos no more than print can show."""
    if not image.smooth:
        return image.draw(image.own)
    share = min(1.0, *(_DENSEST * side / own for side, own in zip(image.size, image.own, strict=True)))
    return image.draw((max(1, round(image.own[0] * share)), max(1, round(image.own[1] * share))))


def runs(points: Points) -> list[Points]:
    """The parts of a curve between its gaps: points that are no numbers."""
    finite = np.isfinite(points).all(1)
    parts = np.split(points, np.flatnonzero(~finite))
    found = (part[np.isfinite(part).all(1)] for part in parts)
    return [part for part in found if len(part)]


def stack(parts: Sequence[Canvas]) -> Canvas:
    """Canvases of one width below one another."""
    whole = Canvas(sum(part.height for part in parts), parts[0].width)
    y = 0
    for part in parts:
        whole.place(part, 0, y)
        y += part.height
    return whole


def canvas_of(picture: Picture) -> Canvas:
    """A canvas that is one picture (h, w, 3)."""
    canvas = Canvas(int(picture.shape[0]), int(picture.shape[1]))
    canvas.picture(0, 0, picture)
    return canvas
