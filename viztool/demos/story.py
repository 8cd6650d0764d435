"""What a demo tells: bands of panels, the numbers in them, and the checks that they passed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any, Protocol

import numpy as np

from viztool.demos.errors import WrongNumberError
from viztool.render.colormaps import Picture
from viztool.render.demo_sheet import Band
from viztool.render.panels import Panel


class Movie(Protocol):
    """What moves."""

    def frames(self) -> list[Picture]: ...


@dataclass
class Story:
    """Filled by a demo from top to bottom.

    numbers: every figure that is drawn or claimed, by name; numbers, texts, and lists and dicts of these.
    photo: shown at the head in place of the demo's own, or None. notes: how to read the sheet.
    movie: what moves, or None. slide_claim: the number of the claim that goes with the band for a lecture, or None.
    """

    notes: list[str] = field(default_factory=list)
    bands: list[Band] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)
    checks: list[dict[str, Any]] = field(default_factory=list)
    photo: Picture | None = None
    movie: Movie | None = None
    slide_claim: int | None = None

    def band(self, title: str, lines: Sequence[str], *panels: Panel) -> None:
        """Panels side by side, in rows, beside their title and what there is to say of them."""
        self.bands.append(Band(title, tuple(lines), panels))

    def on_slide(self, claim: int | None = None) -> None:
        """The last band is the one for a lecture. claim: the number of the one that it shows, or None for the first."""
        self.bands[-1] = replace(self.bands[-1], slide=True)
        self.slide_claim = claim

    def when_this_fails(self, lines: Sequence[str], *panels: Panel) -> None:
        """Where the claim is wrong."""
        self.bands.append(Band("When this fails", tuple(lines), panels, fails=True))

    def equal(self, what: str, found: Any, expected: Any) -> None:
        """Raise WrongNumberError unless the number is exactly this one."""
        found, expected = plain(found), plain(expected)
        self._passed(what, found, f"{expected}", ok=found == expected)

    def near(self, what: str, found: float, expected: float, within: float) -> None:
        """Raise WrongNumberError unless the number is this one, give or take `within`."""
        found = float(found)
        self._passed(what, found, f"{expected:g} ± {within:g}", ok=abs(found - expected) <= within)

    def below(self, what: str, found: float, bound: float) -> None:
        """Raise WrongNumberError unless the number is less than that, or equal."""
        self._passed(what, float(found), f"at most {float(bound):g}", ok=float(found) <= float(bound))

    def above(self, what: str, found: float, bound: float) -> None:
        """Raise WrongNumberError unless the number is greater than that, or equal."""
        self._passed(what, float(found), f"at least {float(bound):g}", ok=float(found) >= float(bound))

    def _passed(self, what: str, found: Any, expected: str, *, ok: bool) -> None:
        if not ok:
            shown = f"{found:g}" if isinstance(found, float) else f"{found}"
            raise WrongNumberError(f"{what}: expected {expected}, found {shown}")
        self.checks.append({"what": what, "found": found, "expected": expected})


def plain(value: Any) -> Any:
    """Arrays and their scalars as lists and numbers that JSON knows; what is not finite as text."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    return value
