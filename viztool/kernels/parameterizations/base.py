"""What a picture is made from while it is optimised."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from viztool.tensors.size import Size


@dataclass(frozen=True)
class Shape:
    """Of the pictures to make: their channels, (h, w), and where they are computed."""

    channels: int
    size: Size
    device: torch.device


class Canvas(ABC):
    """N pictures and the tensors (N, ...) that they are made from; no picture depends on another's."""

    parameters: list[Tensor]

    @abstractmethod
    def image(self) -> Tensor:
        """The pictures, (N, C, h, w) in [0, 1], in the graph of the parameters."""


@dataclass(frozen=True)
class Parameterization(ABC):
    """How a picture is made from numbers. rate: of the optimiser, for a picture of any size."""

    name: ClassVar[str]
    rate: float = 0.05

    @abstractmethod
    def start(self, shape: Shape, generators: Sequence[torch.Generator]) -> Canvas:
        """One picture to begin with for each generator."""

    def resume(self, images: Tensor) -> Canvas:
        """A canvas that shows these pictures, (N, C, h, w) in [0, 1], where the parameterization can."""
        raise NotImplementedError(f"{self.name} cannot start from a picture")

    def optimizer(self, parameters: list[Tensor]) -> torch.optim.Optimizer:
        """It treats each number by itself, so that no picture depends on another's."""
        return torch.optim.Adam(parameters, lr=self.rate)


def normal(shape: Sequence[int], generators: Sequence[torch.Generator], device: torch.device) -> Tensor:
    """Standard normal numbers (N, *shape), those of each picture from its own generator."""
    return torch.stack([torch.randn(*shape, generator=generator) for generator in generators]).to(device)


def logit(image: Tensor) -> Tensor:
    """The inverse of the sigmoid, for a picture in [0, 1] whose black and white are finite."""
    return image.clamp(1 / 512, 1 - 1 / 512).logit()
