"""A number for each image, and the same of random maps beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from viztool.results import Part

_CLEARLY = 2.0  # standard deviations; chance goes as far in one draw of twenty to forty


@dataclass(frozen=True, eq=False, repr=False)
class Score(Part):
    """value: (N,) one number an image. random: (N, D) that of D random maps, or what one would have on average."""

    value: Tensor
    random: Tensor
    higher_is_better: bool

    @property
    def gain(self) -> Tensor:
        """(N,) how much better than a random map, on average: positive is better, whichever way the number runs."""
        gain = self.value - self.random.mean(1)
        return gain if self.higher_is_better else -gain

    @property
    def spread(self) -> Tensor:
        """(N,) standard deviation of the random maps; NaN with fewer than two."""
        return self.random.std(1) if self.random.shape[1] > 1 else self.value * math.nan

    @property
    def z(self) -> Tensor:
        """(N,) the gain in standard deviations of the random maps; NaN where these are all alike."""
        return (self.gain / self.spread).where(self.spread > 0, math.nan)

    def verdict(self, index: int) -> str:
        """In words, what the number of one image is worth."""
        gain, z = float(self.gain[index]), float(self.z[index])
        if math.isnan(gain):
            return "not defined"
        if gain == 0 or abs(z) < _CLEARLY:  # a NaN is not less: random maps that are all alike leave no doubt
            return "no better than random"
        return "better than random" if gain > 0 else "worse than random"

    def numbers(self, index: int) -> dict[str, Any]:
        """Of one image, ready for JSON: None where there is no number."""
        return {
            "value": finite(self.value[index]),
            "random": finite(self.random[index].mean()),
            "spread": finite(self.spread[index]),
            "z": finite(self.z[index]),
            "verdict": self.verdict(index),
        }


def finite(value: Tensor | float) -> float | None:
    """The number, or None if it is NaN or infinite, which JSON does not have."""
    number = float(value)
    return number if math.isfinite(number) else None


def shown(value: Tensor | float, form: str = ".2f") -> str:
    """The number as it stands on a sheet: a dash if there is none, a minus that is one, and none before a zero."""
    number = finite(value)
    if number is None:
        return "–"
    text = f"{number:{form}}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")
