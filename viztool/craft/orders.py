"""What is left of a class while its concepts are taken out one after the other, or come back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from viztool.craft.behind import Behind
from viztool.craft.sobol import standard_error

DRAWS = 4
"""Random orders for each photo."""


@dataclass(frozen=True, eq=False)
class Curves:
    """The mean confidence over photos with 0 to all concepts gone (come back): (count + 1,) each.

    deletion, insertion: in the order of importance; random_deletion, random_insertion: in random ones. areas: under
    each of the four, with its standard error over photos.
    """

    deletion: Tensor
    insertion: Tensor
    random_deletion: Tensor
    random_insertion: Tensor
    areas: dict[str, tuple[float, float | None]]

    @property
    def numbers(self) -> dict[str, Any]:
        return {
            name: {"mean": getattr(self, name).tolist(), "area": area, "standard_error": error}
            for name, (area, error) in self.areas.items()
        }


class Orders:
    """Takes concepts out of one photo after the other. order: most important first. seed: of the random orders."""

    def __init__(self, order: Sequence[int], seed: int) -> None:
        self._order = list(order)
        self._generator = torch.Generator().manual_seed(seed)
        self._found: dict[str, list[Tensor]] = {}

    def add(self, behind: Behind) -> None:
        count = len(self._order)
        chance = [torch.randperm(count, generator=self._generator).tolist() for _ in range(DRAWS)]
        steps = torch.stack([_gone(order) for order in (self._order, *chance)])
        _, confidences = behind(torch.cat([1 - steps, steps]).flatten(0, 1))
        gone, back = confidences.view(2, 1 + DRAWS, count + 1)
        for name, curves in (("deletion", gone), ("insertion", back)):
            self._found.setdefault(name, []).append(curves[0])
            self._found.setdefault(f"random_{name}", []).append(curves[1:].mean(0))

    def curves(self) -> Curves:
        stacked = {name: torch.stack(found) for name, found in self._found.items()}
        areas = {}
        for name, curves in stacked.items():
            area = torch.trapezoid(curves, dim=1) / (curves.shape[1] - 1)
            areas[name] = (float(area.mean()), known(standard_error(area)))
        return Curves(**{name: curves.mean(0) for name, curves in stacked.items()}, areas=areas)


def _gone(order: Sequence[int]) -> Tensor:
    """(count + 1, count): 1 where a concept is gone, after each step."""
    gone = torch.zeros(len(order) + 1, len(order))
    for step, concept in enumerate(order, 1):
        gone[step:, concept] = 1
    return gone


def known(value: Tensor | float) -> float | None:
    """A number for JSON; None for what is none."""
    return None if float(value) != float(value) else float(value)
