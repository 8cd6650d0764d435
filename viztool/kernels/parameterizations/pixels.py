"""A picture made from its pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from viztool.kernels.parameterizations.base import Canvas, Parameterization, Shape, logit, normal


@dataclass(frozen=True)
class Pixels(Parameterization):
    """Each pixel by itself, through a sigmoid. sd: of the start. The plain baseline: it finds noise."""

    name = "pixels"
    sd: float = 0.01

    def start(self, shape: Shape, generators: Sequence[torch.Generator]) -> Canvas:
        """Grey with a little noise."""
        return _PixelCanvas(self.sd * normal((shape.channels, *shape.size), generators, shape.device))

    def resume(self, images: Tensor) -> Canvas:
        """The pictures themselves."""
        return _PixelCanvas(logit(images))


class _PixelCanvas(Canvas):
    def __init__(self, values: Tensor) -> None:
        self.parameters = [values.requires_grad_()]

    def image(self) -> Tensor:
        return self.parameters[0].sigmoid()
