"""One sample: a row of numbers for each layer, made of what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite, nan, sqrt
from typing import Any

import numpy as np

from viztool.monitor.measured import Measured, Values
from viztool.monitor.quantities import QUANTITIES


@dataclass
class Sample:
    """Numbers of one optimizer step.

    layers: by name, in the order in which they ran; a quantity that a layer does not have is left out. network: of the
    input, and of the whole. tops: for units that may be dead, each unit's largest value and the number of images.
    groups: learning rate and update ratio of each parameter group.
    """

    step: int
    seconds: float
    layers: dict[str, dict[str, float]] = field(default_factory=dict)
    network: dict[str, float] = field(default_factory=dict)
    tops: dict[str, tuple[Values, int]] = field(default_factory=dict)
    idle: dict[str, str] = field(default_factory=dict)
    """Layers whose parameters were to be trained and did not move, and why: no optimizer, no gradient, a zero step."""
    groups: list[dict[str, float]] = field(default_factory=list)
    noted: dict[str, float] = field(default_factory=dict)
    """What the user gave, such as the loss."""
    blamed: tuple[str, float, str] | None = None
    """Where the first number that is none came from, if it was seen between two samples: layer, how many, where."""


def forward_numbers(measured: Measured) -> dict[str, float]:
    """The numbers of a layer that has run."""
    found: dict[str, float] = {}
    moments = measured.get("moments")
    if moments is None:
        return found
    found["not finite"] = float(moments[0])
    found["mean"], found["sd"] = float(moments[2]), _root(float(moments[3] / moments[1]))
    gradient = measured.get("gradient")
    if gradient is not None:
        found["gradient not finite"] = float(gradient[0])
        found["gradient"] = _root(float(gradient[1]))
    shares = measured.get("saturated")
    if shares is not None and shares[1] > 0:
        found["saturated"] = float(shares[0] / shares[1])
    spread = measured.get("spread")
    if spread is not None:
        found["varies"] = _share(spread)
    rank = measured.get("rank")
    if rank is not None and rank[1] > 0:
        found["rank"], found["units"], found["rank images"] = map(float, rank)
    shares = measured.get("spread given")
    if shares is not None or measured.counts.get("given"):
        found["varies given"] = 0.0 if shares is None else _root(float(shares[0]))
    given = measured.get("rank given")
    if given is not None:
        found["rank given"] = float(given[0])
    drift = measured.get("drift of norm")
    tracked = measured.get("batches")
    if drift is not None and (tracked is None or tracked[0] > measured.settled_after):
        found["norm drift"] = float(drift[0]) / measured.counts["drift of norm"]
    return found


def input_numbers(measured: Measured) -> dict[str, float]:
    """The numbers of what the network was given."""
    found = {"images": measured.counts.get("images", 0), "forwards": measured.counts.get("forwards", 0)}
    moments, spread = measured.get("input"), measured.get("input spread")
    if moments is not None and moments[1]:
        found["input mean"], found["input sd"] = float(moments[2]), _root(float(moments[3] / moments[1]))
        found["input not finite"] = float(moments[0])
    if spread is not None:
        found["input varies"] = _share(spread)
    return found


def ratios_along_depth(layers: Mapping[str, dict[str, float]]) -> None:
    """Put the norm of each layer's gradient over that of the last layer's into its numbers."""
    last = next((n["gradient"] for n in reversed(list(layers.values())) if n.get("gradient", 0) > 0), nan)
    for numbers in layers.values():
        if "gradient" in numbers and isfinite(last):
            numbers["ratio"] = numbers["gradient"] / last


def _share(spread: Values) -> float:
    if spread[1] > 0:
        return _root(float(spread[0] / spread[1]))
    return 0.0 if spread[1] == 0 else nan


def _root(value: float) -> float:
    return sqrt(max(value, 0.0)) if isfinite(value) else nan


def rounded(value: float) -> float | None:
    """Four digits, as they are logged; None for what is no number, since JSON has none."""
    return float(f"{value:.4g}") if isfinite(value) else None


def as_row(sample: Sample, names: Sequence[str]) -> dict[str, Any]:
    """The sample as it is logged: a list for each quantity, in the order of these layers."""
    columns: dict[str, list[float | None]] = {}
    for quantity in QUANTITIES:
        column = [rounded(sample.layers.get(name, {}).get(quantity, nan)) for name in names]
        if any(value is not None for value in column):
            while column[-1] is None:
                column.pop()
            columns[quantity] = column
    network = {name: rounded(value) for name, value in {**sample.network, **sample.noted}.items()}
    groups = [{name: rounded(value) for name, value in group.items()} for group in sample.groups]
    return {
        "step": sample.step,
        "seconds": round(sample.seconds, 2),
        "network": network,
        "groups": groups,
        "values": columns,
    }


@np.errstate(over="ignore")
def as_array(sample: Sample, names: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """(quantities, layers), NaN where there is none."""
    rows = [[sample.layers.get(name, {}).get(quantity, nan) for name in names] for quantity in QUANTITIES]
    return np.asarray(rows, np.float32).reshape(len(QUANTITIES), len(names))
