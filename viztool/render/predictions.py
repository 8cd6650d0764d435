"""What a network says of an image: names with probabilities, or with plain numbers, and what these are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from viztool.render.canvas import Canvas
from viztool.render.numbers import number, percent
from viztool.render.parts import LINE, draw_lines
from viztool.render.text import BODY, GREY, INK, SMALL, Color, fit, wrap

Prediction = tuple[str, float]

_ROW = 25  # from one prediction to the next
_TRACK = (238, 240, 242)


@dataclass(frozen=True)
class Predictions:
    """rows: (name, number), best first. unit: what the numbers are. note: what one must know of them, or why
    there are none.
    """

    rows: tuple[Prediction, ...] = ()
    unit: Literal["probability", "score"] = "probability"
    note: str = ""

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Prediction:
        return self.rows[index]

    def __iter__(self) -> Iterator[Prediction]:
        return iter(self.rows)

    @property
    def numbers(self) -> list[dict[str, Any]]:
        """A dict for each row, ready for JSON: "class", and "probability" or "score"."""
        return [{"class": name, self.unit: value} for name, value in self.rows]

    @property
    def in_words(self) -> str:
        """The rows in a line; where there are none, why."""
        return ", ".join(f"{name} {self._text(value)}" for name, value in self.rows) or self.note

    def height(self, room: int) -> int:
        """Pixels that `draw` takes."""
        return _ROW * len(self.rows) + LINE * len(self._lines(room))

    def draw(self, page: Canvas, x: int, y: int, room: int) -> int:
        """Write the rows, the first in ink, and the note; returns where the next line would stand."""
        for rank, (name, value) in enumerate(self.rows):
            self._draw_row(page, name, value, x, y, room, GREY if rank else INK)
            y += _ROW
        return draw_lines(page, self._lines(room), x, y)

    def _lines(self, room: int) -> list[str]:
        return wrap(self.note, room, SMALL) if self.note else []

    def _text(self, value: float) -> str:
        return percent(value, 1) if self.unit == "probability" else number(value, ".3g")

    def _draw_row(self, page: Canvas, name: str, value: float, x: int, y: int, room: int, color: Color) -> None:
        """A probability has a bar, whose full length is 1; a score has none, as it has no end."""
        label = min(220, room // 2) if self.unit == "probability" else room - 74
        page.text(fit(name, label - 12, BODY), x, y, BODY.with_color(color))
        if self.unit == "probability":
            left, right = x + label, x + room - 62
            page.fill(left, y - 9, right - left + 1, 8, _TRACK)
            if value > 0:
                filled = max(1, round((right - left) * min(value, 1.0)))
                page.fill(left, y - 9, filled + 1, 8, color)
        page.text(self._text(value), x + room, y, BODY.with_color(color), "right")
