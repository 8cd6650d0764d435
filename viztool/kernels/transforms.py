"""Random transforms of pictures: what a unit is to like from every side it must like in truth.

All geometric ones together are a single affine map for each picture, and pictures are sampled once.

>>> usual = Transforms(pad(12), jitter(16), scale(0.9, 1.1), rotate(10), jitter(8))
>>> usual.size((128, 128))
(128, 128)
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from viztool.tensors.size import Size


class Geometry(ABC):
    """One geometric transform. draws: how many random numbers in [-1, 1] it takes; zeros move nothing."""

    draws: int

    def size(self, size: Size) -> Size:
        """(h, w) of what comes out for pictures of this size."""
        return size

    @abstractmethod
    def matrix(self, draws: Tensor, size: Size) -> Tensor:
        """Where each pixel comes from: (N, 3, 3), of (x, y, 1) in pixels from the middle, for draws (N, draws)."""


@dataclass(frozen=True)
class pad(Geometry):  # noqa: N801 (used as a verb)
    """A frame of so many pixels of what lies outside."""

    pixels: int
    draws = 0

    def size(self, size: Size) -> Size:
        """Larger on all sides."""
        return size[0] + 2 * self.pixels, size[1] + 2 * self.pixels

    def matrix(self, draws: Tensor, size: Size) -> Tensor:
        """The middle stays the middle."""
        return _identity(draws)


@dataclass(frozen=True)
class jitter(Geometry):  # noqa: N801
    """A window smaller by so many pixels, at any of the whole places inside, each as likely as the others."""

    pixels: int
    draws = 2

    def size(self, size: Size) -> Size:
        """Smaller; at least one pixel."""
        return size[0] - self._room(size[0]), size[1] - self._room(size[1])

    def matrix(self, draws: Tensor, size: Size) -> Tensor:
        """A shift of at most half as many pixels to each side; of an odd number it is never none."""
        room = draws.new_tensor([self._room(size[1]), self._room(size[0])])
        place = ((draws + 1) / 2 * (room + 1)).floor().minimum(room)
        matrix = _identity(draws)
        matrix[:, :2, 2] = place - room / 2
        return matrix

    def _room(self, side: int) -> int:
        return min(self.pixels, side - 1)


@dataclass(frozen=True)
class scale(Geometry):  # noqa: N801
    """Zoom about the middle by a factor from `low` to `high`, below and above 1."""

    low: float
    high: float
    draws = 1

    def matrix(self, draws: Tensor, size: Size) -> Tensor:
        """The inverse of the zoom."""
        factor = torch.where(draws < 0, 1 + draws * (1 - self.low), 1 + draws * (self.high - 1))
        return torch.diag_embed(torch.cat([1 / factor, 1 / factor, torch.ones_like(factor)], 1))


@dataclass(frozen=True)
class rotate(Geometry):  # noqa: N801
    """Turn about the middle by up to so many degrees to either side."""

    degrees: float
    draws = 1

    def matrix(self, draws: Tensor, size: Size) -> Tensor:
        """The inverse of the turn."""
        angle = draws[:, 0] * math.radians(self.degrees)
        matrix = _identity(draws)
        matrix[:, 0, 0] = matrix[:, 1, 1] = angle.cos()
        matrix[:, 1, 0] = angle.sin()
        matrix[:, 0, 1] = -angle.sin()
        return matrix


@dataclass(frozen=True)
class crop(Geometry):  # noqa: N801
    """A window at a random place inside, from `smallest` of the side to all of it, scaled up to the whole."""

    smallest: float
    draws = 3

    def matrix(self, draws: Tensor, size: Size) -> Tensor:
        """Zoom, and a place that keeps the window inside."""
        share = 1 - draws[:, 0].abs() * (1 - self.smallest)
        matrix = torch.diag_embed(torch.stack([share, share, torch.ones_like(share)], 1))
        room = (1 - share)[:, None] / 2 * draws.new_tensor([size[1], size[0]])
        matrix[:, :2, 2] = draws[:, 1:] * room
        return matrix


@dataclass(frozen=True)
class noise:  # noqa: N801
    """Normal noise of this standard deviation on every value, of pictures in [0, 1]."""

    sd: float


class Transforms:
    """Transforms one after another. What lies outside a picture is mid-grey.

    >>> x = torch.rand(2, 3, 8, 8)
    >>> Transforms(jitter(4), pad(2)).apply(x, torch.zeros(2, 2)).equal(x)
    False
    """

    def __init__(self, *steps: Geometry | noise) -> None:
        self.steps = steps
        self._geometry = [step for step in steps if isinstance(step, Geometry)]
        self._noise = math.hypot(*(step.sd for step in steps if isinstance(step, noise)))
        self.draws = sum(step.draws for step in self._geometry)

    def __repr__(self) -> str:
        return f"Transforms({', '.join(map(repr, self.steps))})"

    def size(self, size: Size) -> Size:
        """(h, w) of what comes out for pictures of this size."""
        for step in self._geometry:
            size = step.size(size)
        return size

    def __call__(self, x: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """Transform pictures (N, C, h, w) in [0, 1], each by draws from its own generator."""
        draws = torch.stack([2 * torch.rand(self.draws, generator=each) - 1 for each in generators])
        x = self.apply(x, draws)
        if self._noise:
            noises = [torch.randn(x.shape[1:], generator=each) for each in generators]
            x = x + self._noise * torch.stack(noises).to(x)
        return x

    def apply(self, x: Tensor, draws: Tensor) -> Tensor:
        """The geometric transforms of pictures (N, C, h, w) for draws (N, self.draws) in [-1, 1]."""
        before: Size = (x.shape[-2], x.shape[-1])
        size, total = before, _identity(draws)
        for step, own in zip(self._geometry, draws.split([step.draws for step in self._geometry], 1), strict=True):
            total = total @ step.matrix(own, size)
            size = step.size(size)
        if size == before and bool((total == _identity(draws)).all()):
            return x
        return _sampled(x, total, size)


def _identity(draws: Tensor) -> Tensor:
    return torch.eye(3, dtype=draws.dtype).repeat(len(draws), 1, 1)


def _sampled(x: Tensor, matrix: Tensor, size: Size) -> Tensor:
    """matrix: (N, 3, 3), where each pixel of the new size comes from, in pixels from the middle."""
    h, w = x.shape[-2:]
    # `affine_grid` counts in half sides.
    from_half = torch.tensor([size[1] / 2, size[0] / 2, 1.0], dtype=matrix.dtype)
    to_half = torch.tensor([2 / w, 2 / h], dtype=matrix.dtype)
    theta = to_half[:, None] * matrix[:, :2] * from_half
    grid = F.affine_grid(theta.to(x), [len(x), 1, *size], align_corners=False)
    return F.grid_sample(x - 0.5, grid, padding_mode="zeros", align_corners=False) + 0.5
