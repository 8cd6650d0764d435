"""A picture made as a Laplacian pyramid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from viztool.kernels.color import correlate
from viztool.kernels.parameterizations.base import Canvas, Parameterization, Shape, normal
from viztool.tensors.size import Size


@dataclass(frozen=True)
class Laplacian(Parameterization):
    """The sum of pictures of half, a quarter ... the size, each scaled up; decorrelated colours, sigmoid.

    levels: how many. sd: of the values at the start. Burt and Adelson 1983 has the pyramid.
    """

    name = "laplacian"
    levels: int = 5
    sd: float = 0.05

    def start(self, shape: Shape, generators: Sequence[torch.Generator]) -> Canvas:
        """Noise at every level."""
        sides = [tuple(max(1, side >> level) for side in shape.size) for level in range(self.levels)]
        values = [self.sd * normal((shape.channels, *side), generators, shape.device) for side in sides]
        return _LaplacianCanvas(values, shape.size)


class _LaplacianCanvas(Canvas):
    def __init__(self, values: list[Tensor], size: Size) -> None:
        self.parameters = [value.requires_grad_() for value in values]
        self._size = size

    def image(self) -> Tensor:
        finest, *others = self.parameters
        total = finest
        for level in others:
            total = total + F.interpolate(level, self._size, mode="bilinear", align_corners=False)
        return correlate(total).sigmoid()
