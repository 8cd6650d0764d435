"""What a unit is made of, what it does, and how much of that is explained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from viztool.circuits.found import Found, or_none
from viztool.circuits.knock import Edge
from viztool.circuits.sheet import circuit_sheet, short
from viztool.render.canvas import Canvas
from viztool.results import Result, versions


@dataclass(frozen=True, eq=False, repr=False)
class Circuit(Found, Result):
    """What a unit is made of, and what it does for the rest, as a sheet and in numbers; see `viztool.circuit`."""

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
    return {"channel": edge.channel, "effect": edge.effect, "error": or_none(edge.error)}
