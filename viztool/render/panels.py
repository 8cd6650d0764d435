"""Panels of a demo: what they have in common, pictures, and words, each with its caption."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from viztool.render.canvas import Canvas
from viztool.render.colormaps import Picture, colorize
from viztool.render.parts import LINE, MARGIN, WIDTH
from viztool.render.text import BODY, GREY, RULE, TINY, Color, wrap

LEGEND = 252
"""The column of words at the left of each band, as on a contact sheet."""
ROOM = WIDTH - 2 * MARGIN - LEGEND
"""What the panels of a band have beside it, in pixels."""
GAP = 16
GOOD: Color = (38, 121, 84)
BAD: Color = (178, 34, 52)

_TALLEST = 1.25  # height : width of a picture at most
TINY_LINE = 15

Array = npt.NDArray[np.float64]


class Panel(Protocol):
    """Something to draw. words: all that stands on it."""

    def draw(self) -> Canvas: ...

    @property
    def words(self) -> tuple[str, ...]: ...


def width_of(across: int) -> int:
    """Width of a panel of which this many stand beside one another."""
    return (ROOM - (across - 1) * GAP) // across


@dataclass(frozen=True)
class Shot:
    """A picture (h, w, 3). Small ones are enlarged by whole numbers: a pixel stays a plain square."""

    picture: Picture
    name: str
    lines: Sequence[str] = ()
    across: int = 5

    @property
    def words(self) -> tuple[str, ...]:
        return (self.name, *self.lines)

    def draw(self) -> Canvas:
        width = width_of(self.across)
        h, w = self.picture.shape[:2]
        scale = min(width / w, _TALLEST * width / h)
        size = max(1, round(h * scale)), max(1, round(w * scale))
        shot = Canvas(*size)
        shot.picture(0, 0, self.picture, size, smooth=min(h, w) > width)
        shot.frame(0, 0, size[1], size[0], RULE)
        return captioned(shot, self.name, self.lines, width)


@dataclass(frozen=True)
class Words:
    """Paragraphs."""

    paragraphs: Sequence[str]
    across: int = 2

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(self.paragraphs)

    def draw(self) -> Canvas:
        width = width_of(self.across)
        style = BODY
        blocks = [wrap(paragraph, width, style) for paragraph in self.paragraphs]
        page = Canvas(sum(21 * len(block) + 9 for block in blocks) + 4, width)
        y = 14
        for block in blocks:
            for line in block:
                page.text(line, 0, y, style)
                y += 21
            y += 9
        return page


def captioned(picture: Canvas, name: str, lines: Sequence[str], width: int) -> Canvas:
    """The picture with its name and small lines below it, on a page of that width."""
    width = max(width, picture.width)
    names = wrap(name, width, BODY)
    small = [part for line in lines for part in wrap(line, width, TINY)]
    below = (8 + 18 * len(names) if names else 4) + TINY_LINE * len(small)
    page = Canvas(picture.height + below, width)
    page.place(picture, 0, 0)
    y = picture.height + 19
    for line in names:
        page.text(line, 0, y, BODY)
        y += 18
    y -= 3 if names else 4
    for line in small:
        page.text(line, 0, y, TINY)
        y += TINY_LINE
    return page


def grey_picture(values: npt.NDArray[np.generic], low: float, high: float) -> Picture:
    """(h, w) numbers as greys, black at `low` and below, white at `high` and above: uint8 (h, w, 3)."""
    share = (np.asarray(values, np.float64) - low) / max(high - low, 1e-12)
    return np.repeat(np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8)[..., None], 3, 2)


def signed_picture(values: npt.NDArray[np.generic], limit: float | None = None) -> Picture:
    """(h, w) numbers in the colours of feature maps, white at zero: uint8 (h, w, 3)."""
    plain = np.asarray(values, np.float32)
    return colorize(plain, float(np.abs(plain).max(initial=0.0)) if limit is None else limit)


__all__ = [
    "BAD",
    "GAP",
    "GOOD",
    "GREY",
    "LEGEND",
    "LINE",
    "ROOM",
    "TINY_LINE",
    "Panel",
    "Shot",
    "Words",
    "captioned",
    "grey_picture",
    "signed_picture",
    "width_of",
]
