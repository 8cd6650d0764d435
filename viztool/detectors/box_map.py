"""A heatmap of a box, with its standard error at each pixel."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from viztool.heatmaps.heatmap import Heatmap
from viztool.render.numbers import percent

_SURE = 2.0
"""Standard errors from nothing."""


@dataclass(frozen=True, eq=False, repr=False)
class BoxMap(Heatmap):
    """error: (1, H, W), the standard error of `raw`. corners: (left, top, right, bottom) of the box, in the photo."""

    error: Tensor = field(default_factory=lambda: torch.zeros(0))
    corners: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)

    @property
    def sure(self) -> float:
        """The share of pixels that are more than two standard errors from 0."""
        return float((self.raw.abs() > _SURE * self.error).float().mean())

    def checks(self, index: int) -> list[str]:
        """As of any heatmap, and how much of the map is more than chance."""
        lines = super().checks(index)
        at = 1 if lines and lines[0].startswith("standard error") else 0
        drawn = f"from {self.details['masks']:,} random masks, seed {self.seed}"
        sure = f"{percent(self.sure)} of it above 2 standard errors (5 % by chance)"
        return [*lines[:at], sure, drawn, *lines[at:]]

    @property
    def numbers(self) -> dict[str, Any]:
        told = {"mean": float(self.error.mean()), "largest": float(self.error.max()), "share_above_two": self.sure}
        return {**super().numbers, "box": list(self.corners), "standard_error": told}

    @property
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """As of any heatmap, and "error"."""
        return {**super().arrays, "error": self.error.numpy()}
