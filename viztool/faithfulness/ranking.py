"""Methods over many photos: which of them says the most of what the network does."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy.typing as npt
import torch
from torch import Tensor

from viztool.faithfulness.panels import Course, notes, panels
from viztool.faithfulness.result import NAMES, Evaluation
from viztool.faithfulness.score import finite, shown
from viztool.render.canvas import Canvas
from viztool.render.curves import CurveBand, CurveSheet, curve_sheet
from viztool.render.written_table import html_table, plain_table
from viztool.results import Part, Result, made_by, versions

Mean = tuple[float, float]
"""Over photos: the mean, and its standard error, NaN with fewer than two."""

_HEADINGS = {"average_drop": "drop", "sensitivity_n": "sens.-n"}


@dataclass(frozen=True, eq=False, repr=False)
class Trial(Part):
    """One method on one photo, without its picture: a folder of them must fit into memory.

    scores, chances: by name, of the map and on average of random maps as coarse as it. curves: by name, the shares,
    the values, and the random maps' mean, each (S,).
    """

    method: str
    layer: tuple[str, ...]
    source: str
    target: str
    probability: float
    unit: Literal["probability", "score"]
    scores: Mapping[str, float]
    chances: Mapping[str, float]
    curves: Mapping[str, tuple[Tensor, Tensor, Tensor]]

    @property
    def gain(self) -> float:
        """By how much the map beats random ones, in insertion and deletion together."""
        return (self.scores["insertion"] - self.chances["insertion"]) - (
            self.scores["deletion"] - self.chances["deletion"]
        )


def trials(evaluation: Evaluation) -> list[Trial]:
    """One for each image of the evaluation."""
    heatmap = evaluation.heatmap
    return [
        Trial(
            method=heatmap.method,
            layer=heatmap.layer,
            source=heatmap.subjects[index].source,
            target=heatmap.target[index],
            probability=float(evaluation.probability[index]),
            unit=evaluation.unit,
            scores={name: float(score.value[index]) for name, score in evaluation.scores.items()},
            chances={name: float(score.random[index].mean()) for name, score in evaluation.scores.items()},
            curves={
                name: (curve.shares, curve.values[index], curve.random[index].mean(0))
                for name, curve in evaluation.curves.items()
            },
        )
        for index in range(len(evaluation))
    ]


@dataclass(frozen=True, eq=False, repr=False)
class Ranking(Result):
    """Methods, best first: by how much they beat random maps as coarse as theirs, in insertion and deletion.

    Not by insertion and deletion alone: a fine map breaks a network with fewer pixels than a coarse one, wherever
    they lie. trials: at least one. failed: the methods that cannot be had on this network, and why.
    """

    trials: Sequence[Trial]
    network: str
    weights: str
    preprocessing: str
    seed: int
    failed: Mapping[str, str] = field(default_factory=dict)

    @property
    def methods(self) -> list[str]:
        """Their names, best first."""
        return sorted({trial.method for trial in self.trials}, key=lambda method: -self.gain(method)[0])

    def gain(self, method: str) -> Mean:
        """By how much a method's maps beat random ones."""
        return _mean([trial.gain for trial in self._of(method)])

    def score(self, method: str | None, name: str) -> Mean:
        """A score of a method's maps; of all methods' random maps, for None."""
        if method is None:
            return _mean([trial.chances[name] for trial in self.trials])
        return _mean([trial.scores[name] for trial in self._of(method)])

    def __str__(self) -> str:
        """The table as plain text: means over photos ± standard errors, and random maps in the last row."""
        rows = self._lines()
        return plain_table(rows, range(1, len(rows[0])))

    def _repr_html_(self) -> str:
        rows = self._lines()
        return html_table(rows, range(1, len(rows[0])))

    def _lines(self) -> list[tuple[str, ...]]:
        rows = [
            ("method", "photos", "gain ↑", *(f"{_HEADINGS.get(name, NAMES[name])} {_arrow(name)}" for name in NAMES))
        ]
        for method in (*self.methods, None):
            gain = (0.0, math.nan) if method is None else self.gain(method)
            count = len(self.trials) if method is None else len(self._of(method))
            scores = (_said(self.score(method, name)) for name in NAMES)
            rows.append((method or "(random maps)", str(count), _said(gain), *scores))
        return rows

    def drawing(self) -> Canvas:
        """One band for each method, best first: its numbers, and its curves."""
        photos = max(len(self._of(method)) for method in self.methods)
        words = [
            *notes(self.trials[0].unit),
            "Means over the photos, ± standard errors. Grey: random maps as coarse as the method's own, the same on a "
            "photo for all methods as coarse. The methods are in the order of their gain: insertion above random, and "
            "deletion below.",
        ]
        if self.failed:
            words.append(f"Not on this network: {', '.join(self.failed)}.")
        return curve_sheet(
            CurveSheet(
                title=f"Which maps to believe: {photos} photo{'s' if photos > 1 else ''}",
                subtitle=f"{self.network} · {self.weights}",
                notes=words,
                bands=[self._band(rank, method) for rank, method in enumerate(self.methods, 1)],
                footer=f"{made_by()} · seed {self.seed} · {self.preprocessing}",
            )
        )

    @property
    def numbers(self) -> dict[str, Any]:
        """Every figure that is drawn or claimed, ready for JSON."""
        return {
            "network": self.network,
            "weights": self.weights,
            "preprocessing": self.preprocessing,
            "seed": self.seed,
            "methods": [self._method_numbers(method) for method in self.methods],
            "random_maps": {name: _mean_numbers(self.score(None, name)) for name in NAMES},
            "photos": [
                {
                    "source": trial.source,
                    "method": trial.method,
                    "target": trial.target,
                    trial.unit: trial.probability,
                    "gain": finite(trial.gain),
                    **{name: finite(value) for name, value in trial.scores.items()},
                    "random": {name: finite(value) for name, value in trial.chances.items()},
                }
                for trial in self.trials
            ],
            "failed": dict(self.failed),
            "versions": versions(),
        }

    @property
    def in_words(self) -> str:
        """The table."""
        return str(self)

    @property
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Of each method the curves of each photo, (photos, S), and those of its random maps; by "method/curve"."""
        arrays = {}
        for method in self.methods:
            for name, (shares, _, _) in self._of(method)[0].curves.items():
                curves = [trial.curves[name] for trial in self._of(method)]
                arrays[f"{method}/{name}"] = torch.stack([values for _, values, _ in curves]).numpy()
                arrays[f"{method}/{name}_random"] = torch.stack([random for _, _, random in curves]).numpy()
                arrays[f"{method}/{name}_shares"] = shares.numpy()
        return arrays

    def _of(self, method: str) -> list[Trial]:
        return [trial for trial in self.trials if trial.method == method]

    def _method_numbers(self, method: str) -> dict[str, Any]:
        own = self._of(method)
        return {
            "method": method,
            "layer": list(own[0].layer),
            "photos": len(own),
            "gain": _mean_numbers(self.gain(method)),
            **{name: _mean_numbers(self.score(method, name)) for name in NAMES},
            "curves": {
                name: {
                    "shares": course.shares.tolist(),
                    "values": course.values.tolist(),
                    "random": course.random.tolist(),
                }
                for name, course in self._courses(method).items()
            },
        }

    def _courses(self, method: str) -> dict[str, Course]:
        own = self._of(method)
        courses = {}
        for name, (shares, _, _) in own[0].curves.items():
            values = torch.stack([trial.curves[name][1] for trial in own])
            random = torch.stack([trial.curves[name][2] for trial in own])
            few = len(own) < 2
            courses[name] = Course(
                shares,
                values.mean(0),
                random.mean(0),
                spread=None if few else values.std(0) / len(own) ** 0.5,
                random_spread=None if few else random.std(0) / len(own) ** 0.5,
            )
        return courses

    def _band(self, rank: int, method: str) -> CurveBand:
        own = self._of(method)
        rows = [("gain ↑", _said(self.gain(method)), "0.00")]
        rows += [
            (f"{NAMES[name]} {_arrow(name)}", _said(self.score(method, name)), self._chance(own, name))
            for name in NAMES
        ]
        place = f"layer {', '.join(own[0].layer)} · " if own[0].layer else ""
        return CurveBand(
            title=f"{rank}  {method}",
            subtitle=f"{place}{len(own)} photo{'s' if len(own) > 1 else ''}",
            table=[("", "map", "random"), *rows],
            panels=panels(self._courses(method)),
        )

    def _chance(self, own: Sequence[Trial], name: str) -> str:
        return _said(_mean([trial.chances[name] for trial in own]))


def _arrow(name: str) -> str:
    return "↓" if name in ("deletion", "average_drop") else "↑"


def _mean(values: Sequence[float]) -> Mean:
    """Of those that are numbers."""
    numbers = torch.tensor([value for value in values if math.isfinite(value)], dtype=torch.float64)
    if not len(numbers):
        return math.nan, math.nan
    error = float(numbers.std() / len(numbers) ** 0.5) if len(numbers) > 1 else math.nan
    return float(numbers.mean()), error


def _said(mean: Mean) -> str:
    return shown(mean[0]) if math.isnan(mean[1]) else f"{shown(mean[0])} ± {shown(mean[1])}"


def _mean_numbers(mean: Mean) -> dict[str, float | None]:
    return {"mean": finite(mean[0]), "standard_error": finite(mean[1])}
