"""A training on one sheet: what goes wrong in words, and maps of the layers over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps

from viztool.render.canvas import Canvas, stack
from viztool.render.colormaps import Picture
from viztool.render.heading import draw_heading
from viztool.render.numbers import number
from viztool.render.parts import LINE, MARGIN, WIDTH, blank_page, draw_footer, draw_lines
from viztool.render.text import BODY, HEADING, RULE, SMALL, TINY, Color, fit, wrap

Scale = Literal["log", "share", "signed"]

_BAD: Color = (178, 48, 58)
_GOOD: Color = (38, 121, 84)
_NOTHING = (236, 238, 240)
_COLOURS = {"log": "viridis", "share": "Reds", "signed": "RdBu_r"}
_ACROSS, _GAP = 3, 34
_NAMES = 104
_BLOCK = (WIDTH - 2 * MARGIN - (_ACROSS - 1) * _GAP) // _ACROSS
_TALLEST, _LEAST_ROW, _MOST_ROW = 300, 2, 15


@dataclass(frozen=True)
class Said:
    """One finding. heading: kind, layer, since when. text: the evidence; advice: what to do."""

    heading: str
    text: str
    advice: str


@dataclass(frozen=True, eq=False)
class DepthMap:
    """One quantity.

    values: (L, S), NaN where there is none. names: of the L layers, input first. found: those with a finding. steps:
    the first and the last. scale: by magnitude, as a share of 1 with white for none, or around 0.
    """

    title: str
    unit: str
    values: npt.NDArray[np.float32]
    names: Sequence[str]
    found: frozenset[str]
    steps: tuple[int, int]
    scale: Scale


@dataclass(frozen=True, eq=False)
class HealthPage:
    """All of it. more: findings that are not shown."""

    title: str
    subtitle: str
    notes: Sequence[str]
    verdict: str
    findings: Sequence[Said]
    more: int
    maps: Sequence[DepthMap]
    footer: str


def health_page(page: HealthPage) -> Canvas:
    """Draw the sheet, as high as it needs to be."""
    parts = [draw_heading(page.title, page.subtitle, page.notes), _draw_verdict(page)]
    parts += [_draw_said(each) for each in page.findings]
    if page.more:
        more = blank_page(26)
        more.text(f"and {page.more} more: see the page, .save('health.html')", MARGIN, 16, SMALL)
        parts.append(more)
    parts += [_draw_row(page.maps[at : at + _ACROSS]) for at in range(0, len(page.maps), _ACROSS)]
    return stack([*parts, draw_footer(page.footer)])


def _draw_verdict(page: HealthPage) -> Canvas:
    strip = blank_page(36)
    strip.text(page.verdict, MARGIN, 22, HEADING.with_color(_BAD if page.findings else _GOOD))
    return strip


def _draw_said(said: Said) -> Canvas:
    room = WIDTH - 2 * MARGIN - 18
    text, advice = wrap(f"{said.text}.", room, BODY), wrap(f"What to do: {said.advice}", room, SMALL)
    height = 30 + LINE * (len(text) + len(advice)) + 12
    strip = blank_page(height)
    strip.fill(MARGIN, 2, 5, height - 14, _BAD)
    strip.text(fit(said.heading, room, HEADING), MARGIN + 18, 18, HEADING)
    y = 40
    for line in text:
        strip.text(line, MARGIN + 18, y, BODY)
        y += LINE
    draw_lines(strip, advice, MARGIN + 18, y)
    return strip


def _draw_row(maps: Sequence[DepthMap]) -> Canvas:
    blocks = [_draw_map(each) for each in maps]
    strip = blank_page(max(block.height for block in blocks) + 22)
    for at, block in enumerate(blocks):
        strip.place(block, MARGIN + at * (_BLOCK + _GAP), 8)
    return strip


def _draw_map(depth: DepthMap) -> Canvas:
    count = len(depth.names)
    high = max(_LEAST_ROW, min(_MOST_ROW, _TALLEST // max(1, count)))
    height, width, top = high * count, _BLOCK - _NAMES, 46
    block = Canvas(top + height + 20, _BLOCK)
    block.text(fit(depth.title, _BLOCK, BODY), 0, 14, BODY)
    low, most = _span(depth.values, depth.scale)
    ends = (number(low, ".2g"), number(most, ".2g"))
    ramp = np.linspace(0, 1, 90)
    block.text(ends[0], _NAMES - 7, 34, TINY, "right")
    block.picture(_NAMES, 26, np.tile(_coloured(ramp, depth.scale), (8, 1, 1)))
    block.frame(_NAMES, 26, 90, 8, RULE)
    block.text(fit(f"{ends[1]} {depth.unit}".strip(), width - 98, TINY), _NAMES + 97, 34, TINY)
    picture = _coloured(_shares(depth.values, low, most, depth.scale), depth.scale)
    block.picture(_NAMES, top, picture, (height, width))
    block.frame(_NAMES, top, width, height, RULE)
    every = -(-12 // high)
    for row, name in enumerate(depth.names):
        if row % every == 0 or name in depth.found:
            style = TINY.with_color(_BAD) if name in depth.found else TINY
            block.text(fit(name, _NAMES - 8, style), _NAMES - 7, top + row * high + high // 2 + 4, style, "right")
    block.text(f"step {number(depth.steps[0], '.6g')}", _NAMES, top + height + 14, TINY)
    block.text(f"step {number(depth.steps[1], '.6g')}", _BLOCK, top + height + 14, TINY, "right")
    return block


def _span(values: npt.NDArray[np.float32], scale: Scale) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    if scale == "share":
        return 0.0, 1.0
    if scale == "signed":
        most = float(np.abs(finite).max(initial=0.0)) or 1.0
        return -most, most
    positive = finite[finite > 0]
    if not positive.size:
        return 0.1, 1.0
    most = float(positive.max())
    return max(float(positive.min()), most * 1e-9), most


def _shares(values: npt.NDArray[np.float32], low: float, most: float, scale: Scale) -> npt.NDArray[np.float64]:
    wide = values.astype(np.float64)
    if scale == "log":
        place = np.log(np.maximum(wide, low) / low) / max(np.log(most / low), 1e-12)
    else:
        place = (wide - low) / (most - low)
    return np.asarray(np.clip(place, 0, 1))


def _coloured(shares: npt.NDArray[np.float64], scale: Scale) -> Picture:
    picture = np.rint(255 * colormaps[_COLOURS[scale]](np.nan_to_num(shares))[..., :3]).astype(np.uint8)
    picture[~np.isfinite(shares)] = _NOTHING
    return np.ascontiguousarray(picture if picture.ndim == 3 else picture[None])
