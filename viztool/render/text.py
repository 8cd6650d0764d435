"""Words on a picture, in the fonts that come with OpenCV: no font file is looked for on the machine."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any

import cv2

from viztool.render.colormaps import Picture

Color = tuple[int, int, int]

INK: Color = (33, 37, 41)
GREY: Color = (112, 118, 124)
RULE: Color = (222, 226, 230)


@dataclass(frozen=True)
class Style:
    """size: of the letters, in pixels. weight: 400 is regular, 600 bold."""

    size: int
    weight: int = 400
    color: Color = INK

    def with_color(self, color: Color) -> Style:
        return replace(self, color=color)

    def with_size(self, size: int) -> Style:
        return replace(self, size=size)


TITLE = Style(26, 600)
HEADING = Style(17, 600)
BODY = Style(14)
SMALL = Style(13, color=GREY)
TINY = Style(11, color=GREY)
_TIE = "\u00a0"
_TIED = re.compile(r" (?=%|[×·] \d)|(?<=\d [×·]) ")


_writing = threading.Lock()
"""A font keeps the size and weight that it was last asked for, and OpenCV lets other threads run meanwhile."""


@cache
def _font() -> Any:
    return cv2.FontFace("sans")


_STAND_INS = str.maketrans("⁺⁻ᵀ∘⟨⟩", "+−T·()")
"""For characters that are in no font of OpenCV's: it would draw a question mark."""


def _drawable(text: str) -> str:
    """With what stands for characters that the font does not have.

    And without halves of a pair, as file names have them that are no UTF-8: at these OpenCV ends the process.
    """
    return text if text.isascii() else text.encode("utf-8", "replace").decode().translate(_STAND_INS)


@lru_cache(4096)
def text_width(text: str, style: Style) -> int:
    """Width of the text in pixels."""
    if not text:
        return 0
    with _writing:
        return int(cv2.getTextSize((1, 1), _drawable(text), (0, 0), _font(), style.size, style.weight)[2])


def draw_text(canvas: Picture, text: str, x: int, baseline: int, style: Style) -> None:
    """Write on pixels, in place; x is the text's left end."""
    with _writing:
        cv2.putText(canvas, _drawable(text), (x, baseline), style.color, _font(), style.size, style.weight)


def fit(text: str, width: int, style: Style) -> str:
    """The text, its middle left out if it is wider than that: both ends of a layer's name tell it from others."""
    if text_width(text, style) <= width:
        return text
    for kept in range(len(text) - 1, 1, -1):
        head = (kept + 1) // 2
        short = text[:head] + "…" + text[len(text) - (kept - head) :]
        if text_width(short, style) <= width:
            return short
    return "…"


def wrap(text: str, width: int, style: Style) -> list[str]:
    """The text in lines no wider than that, broken at spaces."""
    lines: list[str] = []
    # What belongs to one number stays together.
    for word in (part.replace(_TIE, " ") for part in _TIED.sub(_TIE, text).split(" ") if part):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, style) <= width:
            lines[-1] = longer
        else:
            lines.append(fit(word, width, style))
    return lines
