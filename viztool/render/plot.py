"""A plot of curves with both axes in their own units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any

import numpy as np
import numpy.typing as npt

from viztool.render.canvas import Canvas
from viztool.render.curves import BLUE, CHANCE, ORANGE
from viztool.render.numbers import number
from viztool.render.panels import captioned, width_of
from viztool.render.text import INK, RULE, SMALL, TINY, Color, text_width

Values = npt.NDArray[np.floating[Any]]

GREEN: Color = (38, 121, 84)
VIOLET: Color = (122, 72, 160)
PALETTE: tuple[Color, ...] = (BLUE, ORANGE, GREEN, VIOLET, (178, 34, 52), (70, 78, 86))

_LEFT = 48  # room for the numbers of the vertical scale
_BELOW = 38  # room for the numbers of the other scale and its name, with what hangs below the line of its letters
_GRID = (240, 242, 244)


@dataclass(frozen=True)
class Curve:
    """x, y: (S,). label: written in its colour; "" for none. spread: (S,), a band on both sides. dots: mark the points.

    line: join the points. steps: by stairs, as a histogram is drawn.
    """

    x: Values
    y: Values
    label: str
    color: Color = BLUE
    spread: Values | None = None
    dots: bool = False
    line: bool = True
    steps: bool = False


@dataclass(frozen=True)
class Plot:
    """Curves over one another. x_axis, y_axis: in words. y_range, x_range: of the scales, from the curves if None.

    log: a vertical scale in powers of ten.
    """

    curves: Sequence[Curve]
    name: str
    x_axis: str = ""
    lines: Sequence[str] = ()
    across: int = 3
    height: int = 190
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    log: bool = False
    x_ticks: Sequence[float] | None = None

    @property
    def words(self) -> tuple[str, ...]:
        return (self.name, self.x_axis, *self.lines, *(curve.label for curve in self.curves))

    def draw(self) -> Canvas:
        width = width_of(self.across)
        keys = self._keys(width)
        top = 18 * len(keys) + 6
        page = Canvas(top + self.height + _BELOW, width)
        for row, line in enumerate(keys):
            x = _LEFT
            for curve in line:
                page.text(curve.label, x, 13 + 18 * row, SMALL.with_color(curve.color))
                x += text_width(curve.label, SMALL) + 14
        self._draw_inside(page, _LEFT, top, width - _LEFT - 10)
        return captioned(page, self.name, self.lines, width)

    def _keys(self, width: int) -> list[list[Curve]]:
        rows: list[list[Curve]] = [[]]
        used = 0
        for curve in self.curves:
            if not curve.label:
                continue
            wide = text_width(curve.label, SMALL) + 14
            if rows[-1] and used + wide > width - _LEFT:
                rows.append([])
                used = 0
            rows[-1].append(curve)
            used += wide
        return rows if rows[0] else []

    def _draw_inside(self, page: Canvas, x: int, y: int, width: int) -> None:
        x_low, x_high = self.x_range or _span([curve.x for curve in self.curves], from_zero=False)
        y_low, y_high = self._y_span()

        def across(values: Values) -> Values:
            return x + (values - x_low) / max(x_high - x_low, 1e-12) * (width - 1)

        def down(values: Values) -> Values:
            heights = np.log10(np.maximum(values, 1e-300)) if self.log else values
            return y + (1 - np.clip((heights - y_low) / max(y_high - y_low, 1e-12), 0, 1)) * (self.height - 1)

        for tick in _log_ticks(y_low, y_high) if self.log else _ticks(y_low, y_high, 4):
            level = round(float(down(np.array([10.0**tick if self.log else tick]))[0]))
            page.line((x, level), (x + width - 1, level), RULE if tick == 0 and not self.log else _GRID)
            text = f"1e{tick:g}".replace("-", "−") if self.log else number(tick, "g")
            page.text(text, x - 7, level + 4, TINY, "right")
        page.line((x, y + self.height - 1), (x + width - 1, y + self.height - 1), RULE)
        ticks = self.x_ticks if self.x_ticks is not None else _ticks(x_low, x_high, 4)
        for tick in ticks:
            at = round(float(across(np.array([tick]))[0]))
            page.line((at, y + self.height - 1), (at, y + self.height + 3), RULE)
            page.text(number(tick, "g"), at, y + self.height + 17, TINY, "center")
        page.text(self.x_axis, x + width // 2, y + self.height + 32, TINY, "center")
        for curve in self.curves:
            if curve.spread is not None:
                upper = _points(across(curve.x), down(curve.y + curve.spread))
                lower = _points(across(curve.x), down(curve.y - curve.spread))
                page.area(np.concatenate([upper, lower[::-1]]), curve.color)
        for curve in self.curves:
            xs, ys = (_stairs(curve.x, curve.y)) if curve.steps else (curve.x, curve.y)
            way = _points(across(xs), down(ys))
            if curve.line:
                page.curve(way, curve.color, 1 if curve.color == CHANCE else 2)
            if curve.dots:
                for point in way:
                    page.disc(float(point[0]), float(point[1]), 3, curve.color)

    def _y_span(self) -> tuple[float, float]:
        if self.y_range is not None:
            low, high = self.y_range
            return (log10(low), log10(high)) if self.log else (low, high)
        if self.log:
            values = np.concatenate([curve.y[curve.y > 0] for curve in self.curves])
            return float(floor(log10(values.min(initial=1.0)))), float(ceil(log10(values.max(initial=1e-300))))
        spread = [curve.y if curve.spread is None else curve.y + curve.spread for curve in self.curves]
        return _span([*spread, *(curve.y for curve in self.curves)], from_zero=True)


def _span(values: Sequence[Values], *, from_zero: bool) -> tuple[float, float]:
    """From the least to the largest, rounded outwards to a tick; with zero, if the scale is to begin there."""
    everything = np.concatenate([each[np.isfinite(each)] for each in values])
    low, high = float(everything.min(initial=np.inf)), float(everything.max(initial=-np.inf))
    if not low < np.inf:
        return 0.0, 1.0
    if not from_zero:
        return low, high
    low, high = min(low, 0.0), max(high, 0.0)
    step = _step(low, high, 4)
    return floor(low / step + 1e-9) * step, ceil(high / step - 1e-9) * step


def _step(low: float, high: float, count: int) -> float:
    rough = max(high - low, 1e-12) / count
    power = 10.0 ** floor(log10(rough))
    return float(next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= rough * 0.999))


def _ticks(low: float, high: float, count: int) -> list[float]:
    step = _step(low, high, count)
    first = ceil(low / step - 1e-9)
    return [round(at * step, 12) for at in range(first, floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    every = max(1, ceil((high - low) / 5))
    return [float(at) for at in range(ceil(low), floor(high) + 1, every)]


def _stairs(x: Values, y: Values) -> tuple[Values, Values]:
    return np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]


def _points(across: Values, down: Values) -> Values:
    return np.stack([across, down], 1)


__all__ = ["BLUE", "CHANCE", "GREEN", "INK", "ORANGE", "PALETTE", "VIOLET", "Curve", "Plot"]
