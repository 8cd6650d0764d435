"""What was found of a unit, before it is drawn or told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from viztool.circuits.icons import Icon
from viztool.circuits.knock import Edge
from viztool.results import Part


@dataclass(frozen=True, repr=False)
class Together(Part):
    """The strongest inputs knocked out at once: how many, the effect and its error, and what single effects sum to."""

    count: int
    effect: float
    error: float
    sum: float

    @property
    def numbers(self) -> dict[str, Any]:
        return {"count": self.count, "effect": self.effect, "error": or_none(self.error), "sum": self.sum}


@dataclass(frozen=True, repr=False)
class Guess(Part):
    """What others guess by, and its rank correlation with the measured effects; None where one does not vary."""

    name: str
    correlation: float | None
    of: str


@dataclass(frozen=True, eq=False, repr=False)
class Found:
    """What a unit is made of, and what it does for the rest.

    inputs, outputs: (channel, effect, standard error), the strongest first; outputs are classes if `outputs_layer` is
    "". together: the strongest inputs at once. guesses: by weights and gradients. kernels: (C, kh, kw), from each input
    channel to the unit, what is not linear left out; or None. value: the unit's, mean over photos. photos: those that
    were measured on, of so many. windowed: on how many a part of the maps was enough. names: of the classes.
    rows: the effects photo by photo, (photos, channels). icons: pictures of channels, by (layer, channel).
    """

    network: str
    weights_of: str
    layer: str
    channel: int
    inputs_layer: str
    outputs_layer: str
    replace: str
    seed: int
    inputs: list[Edge]
    outputs: list[Edge]
    together: tuple[Together, ...]
    guesses: tuple[Guess, ...]
    kernels: npt.NDArray[np.float32] | None
    value: float
    photos: tuple[str, ...]
    of: int
    windowed: int
    names: tuple[str, ...] | None
    failed: tuple[str, ...]
    rows: Mapping[str, npt.NDArray[np.float64]]
    icons: Mapping[tuple[str, int], Icon]


def or_none(number: float) -> float | None:
    """For JSON, which has no NaN."""
    return number if np.isfinite(number) else None
