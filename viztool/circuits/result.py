"""A circuit: what a unit is made of, what it does, and how much of that is explained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from viztool.circuits.icons import Icon
from viztool.circuits.knock import Edge
from viztool.circuits.sheet import circuit_sheet, short
from viztool.render.canvas import Canvas
from viztool.results import Part, Result, versions


@dataclass(frozen=True, repr=False)
class Together(Part):
    """The strongest inputs knocked out at once: how many, the effect and its error, and what single effects sum to."""

    count: int
    effect: float
    error: float
    sum: float

    @property
    def numbers(self) -> dict[str, Any]:
        return {"count": self.count, "effect": self.effect, "error": _or_none(self.error), "sum": self.sum}


@dataclass(frozen=True, repr=False)
class Guess(Part):
    """What others guess by, and its rank correlation with the measured effects; None where one does not vary."""

    name: str
    correlation: float | None
    of: str


@dataclass(frozen=True, eq=False, repr=False)
class Circuit(Result):
    """What a unit is made of, and what it does for the rest; see `viztool.circuit`.

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

    def drawing(self) -> Canvas:
        return circuit_sheet(self)

    @property
    def in_words(self) -> str:
        strongest = ", ".join(f"{edge.channel} ({short(edge.effect)})" for edge in self.inputs[:3])
        return f"{self.layer}/{self.channel} is made of {self.inputs_layer}: {strongest} and others"

    @property
    def numbers(self) -> dict[str, Any]:
        """Every figure that is drawn or claimed, ready for JSON."""
        return {
            "network": self.network,
            "weights": self.weights_of,
            "layer": self.layer,
            "channel": self.channel,
            "value": self.value,
            "replace": self.replace,
            "seed": self.seed,
            "photos": list(self.photos),
            "of": self.of,
            "failed": list(self.failed),
            "inputs": {"layer": self.inputs_layer, "edges": [_edge(one) for one in self.inputs]},
            "outputs": {
                "layer": self.outputs_layer,
                "edges": [_edge(one) | self._named(one) for one in self.outputs],
            },
            "together": [one.numbers for one in self.together],
            "kernels": None if self.kernels is None else self.kernels.sum((1, 2), dtype=np.float64).tolist(),
            "rank correlations": {guess.name: guess.correlation for guess in self.guesses},
            "versions": versions(),
        }

    def _named(self, edge: Edge) -> dict[str, str]:
        return {} if self.names is None or self.outputs_layer else {"class": self.names[edge.channel]}

    @property
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        return dict(self.rows)


def _edge(edge: Edge) -> dict[str, Any]:
    return {"channel": edge.channel, "effect": edge.effect, "error": _or_none(edge.error)}


def _or_none(number: float) -> float | None:
    return number if np.isfinite(number) else None
