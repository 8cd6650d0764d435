"""What all sheets have in common: the page, lines of words, the colour bar, the foot."""

from __future__ import annotations

from collections.abc import Sequence

from viztool.render.canvas import Canvas, Size
from viztool.render.colormaps import Map, Picture, color_bar, colorize, overlay
from viztool.render.scaling import scaled, shrinks
from viztool.render.text import RULE, SMALL, TINY, fit

WIDTH = 1340
MARGIN = 40
LINE = 19  # from one small line to the next

_BAR_HEIGHT = 9


def blank_page(height: int) -> Canvas:
    """A white strip as wide as every sheet."""
    return Canvas(height, WIDTH)


def draw_lines(page: Canvas, lines: Sequence[str], x: int, y: int) -> int:
    """Write small lines below one another; returns where the next would stand."""
    for line in lines:
        page.text(line, x, y, SMALL)
        y += LINE
    return y


def draw_bar(
    page: Canvas,
    x: int,
    y: int,
    width: int,
    *,
    signed: bool,
    overlaid: bool,
    ticks: tuple[str, str, str],
    heat: bool = False,
) -> None:
    """The colour scale, and what stands under its left end, its middle and its right end."""

    def draw(size: Size) -> Picture:
        return color_bar(size[1], size[0], signed=signed, overlaid=overlaid, heat=heat)

    page.image(x, y, (_BAR_HEIGHT, width), draw, (_BAR_HEIGHT, width))
    page.frame(x, y, width, _BAR_HEIGHT, RULE)
    low, middle, high = ticks
    below = y + _BAR_HEIGHT + 15
    page.text(low, x, below, TINY)
    page.text(middle, x + width // 2, below, TINY, "center")
    page.text(high, x + width, below, TINY, "right")


def draw_cells(page: Canvas, x: int, y: int, size: Size, values: Map, limit: float, *, heat: bool = False) -> None:
    """A map (h, w) in its own cells; where it has more of them than there are pixels, areas are averaged."""

    def draw(size: Size) -> Picture:
        if shrinks(values, size):
            return colorize(scaled(values, size), limit, heat=heat)
        return scaled(colorize(values, limit, heat=heat), size)  # each cell's colour is looked up but once

    own = min(int(values.shape[0]), size[0]), min(int(values.shape[1]), size[1])
    page.image(x, y, size, draw, own)


def draw_over(
    page: Canvas, x: int, y: int, size: Size, values: Map, limit: float, view: Picture, *, heat: bool = False
) -> None:
    """A map (h, w) over what the network was given."""

    def draw(size: Size) -> Picture:
        return overlay(values, limit, scaled(view, size, smooth=True), heat=heat)

    page.image(x, y, size, draw, (int(view.shape[0]), int(view.shape[1])), smooth=True)


def draw_box(page: Canvas, x: int, y: int, size: Size, box: tuple[float, float, float, float]) -> None:
    """A frame that shows on dark and on bright, at (left, top, right, bottom) in shares of what is drawn at x, y."""
    left, top, right, bottom = (round(share * side) for share, side in zip(box, (size[1], size[0]) * 2, strict=True))
    for inset, color in ((0, (255, 255, 255)), (2, (20, 20, 20))):
        width, height = right - left - 2 * inset, bottom - top - 2 * inset
        if min(width, height) > 2:
            page.frame(x + left + inset, y + top + inset, width, height, color, 2)


def draw_footer(footer: str) -> Canvas:
    """The strip at the foot of a sheet."""
    page = blank_page(46)
    page.line((MARGIN, 0), (WIDTH - MARGIN - 1, 0), RULE)
    page.text(fit(footer, WIDTH - 2 * MARGIN, TINY), MARGIN, 24, TINY)
    return page
