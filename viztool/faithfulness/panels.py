"""The plots of an evaluation, of one image or over many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from viztool.render.curves import BLUE, CHANCE, ORANGE, Line, Panel, Values


def notes(unit: str) -> tuple[str, ...]:
    """What one must know to read the panels. unit: "probability" or "score", what the curves are of."""
    return (
        f"The curves are of the target's {unit}. Deletion takes pixels out in the order of the map, most relevant "
        "first: the smaller the area below the better. Insertion puts them into the blurred image: the larger the "
        "better.",
        f"ROAD fills pixels in from what is around them. Without the most relevant the {unit} should fall, without "
        "the least relevant it should stay; its number is the mean difference.",
    )


@dataclass(frozen=True, eq=False)
class Course:
    """A curve, (S,), and that of random maps, each with its spread; or without one."""

    shares: Tensor
    values: Tensor
    random: Tensor
    spread: Tensor | None = None
    random_spread: Tensor | None = None

    def line(self, color: tuple[int, int, int]) -> Line:
        return Line(_array(self.shares), _array(self.values), color, _maybe(self.spread))

    def chance(self) -> Line:
        return Line(_array(self.shares), _array(self.random), CHANCE, _maybe(self.random_spread))


def panels(courses: Mapping[str, Course]) -> list[Panel]:
    """Deletion, insertion and ROAD side by side; courses by the names of `Evaluation.curves`."""
    keys = [("map", BLUE), ("random", CHANCE)]
    deletion, insertion = courses["deletion"], courses["insertion"]
    most, least = courses["road_most"], courses["road_least"]
    return [
        Panel("deletion", keys, "taken out", [deletion.chance(), deletion.line(BLUE)]),
        Panel("insertion", keys, "put in", [insertion.chance(), insertion.line(BLUE)]),
        Panel(
            "ROAD",
            [("most relevant", BLUE), ("least", ORANGE), ("random", CHANCE)],
            "filled in",
            [most.chance(), most.line(BLUE), least.line(ORANGE)],
        ),
    ]


def _array(values: Tensor) -> Values:
    return values.double().numpy()


def _maybe(values: Tensor | None) -> Values | None:
    return None if values is None else np.nan_to_num(_array(values))
