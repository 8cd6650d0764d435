"""How far heatmaps can be believed: the numbers, the curves, the picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy.typing as npt
from torch import Tensor

from viztool.faithfulness.curves import Curve
from viztool.faithfulness.panels import Course, notes, panels
from viztool.faithfulness.score import Score, shown
from viztool.heatmaps.heatmap import Heatmap
from viztool.render.canvas import Canvas
from viztool.render.colormaps import overlay
from viztool.render.curves import CurveBand, CurveSheet, curve_sheet
from viztool.render.numbers import number
from viztool.results import Result, made_by, versions

NAMES = {
    "deletion": "deletion",
    "insertion": "insertion",
    "average_drop": "average drop",
    "increase": "increase",
    "road": "ROAD",
    "sensitivity_n": "sensitivity-n",
}
"""The numbers, in the order in which they are told, and what they are called."""


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation(Result):
    """Of N images: how far a heatmap says what the network does, and how far random maps do.

    probability: (N,) of the target on the image as it is; the score itself, where `unit` says so: of a score of one's
        own, and of an output that gives no probabilities.
    curves: "deletion" and "insertion" by share of the pixels, "road_most" and "road_least", by the share filled in.
    scores: those of NAMES, each beside random maps as coarse as the heatmap, which share its values where it was
        evaluated by itself.
    """

    heatmap: Heatmap
    probability: Tensor
    curves: Mapping[str, Curve]
    scores: Mapping[str, Score]
    seed: int
    unit: Literal["probability", "score"]

    @property
    def deletion(self) -> Tensor:
        """(N,) area under the deletion curve; lower is better. Petsiuk et al. 2018."""
        return self.scores["deletion"].value

    @property
    def insertion(self) -> Tensor:
        """(N,) area under the insertion curve; higher is better. Petsiuk et al. 2018."""
        return self.scores["insertion"].value

    @property
    def average_drop(self) -> Tensor:
        """(N,) share of the confidence that is lost behind the map; lower is better. Chattopadhyay et al. 2018."""
        return self.scores["average_drop"].value

    @property
    def increase(self) -> Tensor:
        """(N,) 1 where the confidence grew behind the map, else 0. Chattopadhyay et al. 2018."""
        return self.scores["increase"].value

    @property
    def road(self) -> Tensor:
        """(N,) probability without the least relevant pixels, minus without the most; higher is better. Rong 2022."""
        return self.scores["road"].value

    @property
    def sensitivity_n(self) -> Tensor:
        """(N,) correlation of the map's sums with what the score loses; higher is better. Ancona et al. 2018."""
        return self.scores["sensitivity_n"].value

    def __len__(self) -> int:
        return len(self.probability)

    def lines(self, index: int = 0) -> list[str]:
        """The two best known numbers on one image, each beside that of random maps."""
        lines = []
        for name in ("insertion", "deletion"):
            score = self.scores[name]
            own, chance = (number(float(each[index].mean()), ".2f") for each in (score.value, score.random))
            lines.append(f"{name} {own} (random {chance})")
        return lines

    def summary(self, index: int = 0) -> str:
        """One line on one image."""
        return " · ".join(self.lines(index))

    def drawing(self) -> Canvas:
        """One band for each image: the map, the numbers beside random maps', the curves."""
        subject = self.heatmap.subjects[0]
        draws = self.scores["deletion"].random.shape[1]
        chance = (
            f"Grey: {draws} random maps as coarse as the one above, mean ± one standard deviation; z is how many of "
            "those the map is better."
        )
        return curve_sheet(
            CurveSheet(
                title=f"{self.heatmap.method}: how far to believe it",
                subtitle=f"{subject.network} · {subject.weights}",
                notes=(*notes(self.unit), chance),
                bands=[self._band(index) for index in range(len(self))],
                footer=f"{made_by()} · seed {self.seed} · {subject.preprocessing}",
            )
        )

    @property
    def numbers(self) -> dict[str, Any]:
        """Every figure that is drawn or claimed, ready for JSON."""
        return {
            "method": self.heatmap.method,
            "layer": list(self.heatmap.layer),
            "seed": self.seed,
            "random_maps": self.scores["deletion"].random.shape[1],
            "images": [self._image_numbers(index) for index in range(len(self))],
            "versions": versions(),
        }

    @property
    def in_words(self) -> str:
        """A line on each image."""
        return "; ".join(self.summary(index) for index in range(len(self)))

    @property
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The curves, (N, S), of the heatmap, and (N, D, S) of the random maps, by name."""
        arrays: dict[str, Tensor] = {}
        for name, curve in self.curves.items():
            arrays |= {name: curve.values, f"{name}_random": curve.random, f"{name}_shares": curve.shares}
        return {name: array.numpy() for name, array in arrays.items()}

    def _image_numbers(self, index: int) -> dict[str, Any]:
        return {
            **self.heatmap.subjects[index].numbers,
            "target": self.heatmap.target[index],
            self.unit: float(self.probability[index]),
            **{name: score.numbers(index) for name, score in self.scores.items()},
            "curves": {
                name: {
                    "shares": curve.shares.tolist(),
                    "values": curve.values[index].tolist(),
                    "random": curve.random[index].mean(0).tolist(),
                }
                for name, curve in self.curves.items()
            },
        }

    def _band(self, index: int) -> CurveBand:
        subject = self.heatmap.subjects[index]
        values = self.heatmap.signed_map[index].numpy()
        place = f" · layer {', '.join(self.heatmap.layer)}" if self.heatmap.layer else ""
        return CurveBand(
            title=subject.source,
            subtitle=f"{self.heatmap.method} of {self.heatmap.target[index]}{place} · "
            f"{self.unit} {number(float(self.probability[index]), '.3g')}",
            picture=overlay(values, 1.0, subject.view, heat=not self.heatmap.signed),
            table=[("", "map", "random", "z"), *(self._row(name, index) for name in NAMES)],
            panels=panels({name: _course(curve, index) for name, curve in self.curves.items()}),
        )

    def _row(self, name: str, index: int) -> tuple[str, str, str, str]:
        score = self.scores[name]
        arrow = "↑" if score.higher_is_better else "↓"
        chance = f"{shown(score.random[index].mean())} ± {shown(score.spread[index])}"
        return f"{NAMES[name]} {arrow}", shown(score.value[index]), chance, shown(score.z[index], ".1f")


def _course(curve: Curve, index: int) -> Course:
    random = curve.random[index]
    return Course(curve.shares, curve.values[index], random.mean(0), random_spread=random.std(0))
