"""A picture made from phases alone, under the magnitude spectrum of photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from viztool.kernels.color import correlate
from viztool.kernels.parameterizations.base import Canvas, Parameterization, Shape
from viztool.kernels.parameterizations.fourier import frequencies
from viztool.kernels.parameterizations.spectrum import natural_spectrum
from viztool.tensors.size import Size


@dataclass(frozen=True)
class MACO(Parameterization):
    """Phases of Fourier coefficients whose magnitudes are fixed to those of photos. contrast: sd before the sigmoid.

    No frequency can be made stronger than photos have it. Fel et al. 2023, "Unlocking Feature Visualization
    for Deeper Networks with MAgnitude Constrained Optimization".
    """

    name = "maco"
    rate: float = 0.1
    contrast: float = 1.2

    def start(self, shape: Shape, generators: Sequence[torch.Generator]) -> Canvas:
        """Random phases: clouds."""
        h, w = shape.size
        draws = [torch.rand(shape.channels, h, w // 2 + 1, generator=generator) for generator in generators]
        phases = 2 * torch.pi * torch.stack(draws).to(shape.device)
        return MACOCanvas(phases, magnitude(shape.channels, shape.size, self.contrast), shape.size)

    def optimizer(self, parameters: list[Tensor]) -> torch.optim.Optimizer:
        """NAdam, as in the paper."""
        return torch.optim.NAdam(parameters, lr=self.rate)


class MACOCanvas(Canvas):
    """phases, (N, C, h, w // 2 + 1); magnitude, (C, h, w // 2 + 1), which never changes."""

    def __init__(self, phases: Tensor, magnitude: Tensor, size: Size) -> None:
        self.parameters = [phases.requires_grad_()]
        self.magnitude = magnitude.to(phases)
        self._size = size

    def plain(self) -> Tensor:
        """The pictures before colours and sigmoid: it is their magnitude spectrum that is fixed."""
        spectrum = torch.polar(
            self.magnitude.expand_as(self.parameters[0]), antisymmetric(self.parameters[0], self._size)
        )
        plain: Tensor = torch.fft.irfft2(spectrum, s=self._size, norm="ortho")
        return plain

    def image(self) -> Tensor:
        """The pictures, (N, C, h, w) in [0, 1]."""
        return correlate(self.plain()).sigmoid()


def antisymmetric(phases: Tensor, size: Size) -> Tensor:
    """Phases that a real picture can have: φ(−f) = −φ(f) where both are stored.

    They are in the first column, and in the last of an even width. Else the inverse transform would make the
    picture real by itself, and change magnitudes.
    """
    odd = _column(phases[..., :1])
    if size[1] % 2:
        return torch.cat([odd, phases[..., 1:]], -1)
    return torch.cat([odd, phases[..., 1:-1], _column(phases[..., -1:])], -1)


def _column(phases: Tensor) -> Tensor:
    return (phases - _mirrored(phases)) / 2


def _mirrored(rows: Tensor) -> Tensor:
    """Row −k in place of row k: the first stays, the others turn round."""
    return torch.roll(rows.flip(-2), 1, -2)


def magnitude(channels: int, size: Size, contrast: float) -> Tensor:
    """Magnitudes of photos in decorrelated colours, (C, h, w // 2 + 1), of pictures with this standard deviation."""
    h, w = size
    known = torch.from_numpy(np.asarray(natural_spectrum()))  # (3, rows, columns), zero frequency in row 0
    rows, columns = known.shape[1:]
    # Magnitude times frequency is nearly flat, so it can be read between the stored frequencies, and below the first.
    flat = known * frequencies((rows, 2 * columns - 2)).clamp_min(1 / rows)
    ordered = torch.cat([flat[:, rows // 2 :], flat[:, : rows // 2 + 1]], 1)  # in the order of rising frequency
    vertical, horizontal = torch.fft.fftfreq(h) * 2, torch.fft.rfftfreq(w) * 4 - 1
    grid = torch.stack(torch.broadcast_tensors(horizontal[None], vertical[:, None]), -1)[None]
    found = F.grid_sample(ordered[None], grid, align_corners=True, padding_mode="border")[0]
    found = found / frequencies(size).clamp_min(1 / max(size))
    found = (found + _mirrored(found)) / 2  # as they are, but for rounding
    found[:, 0, 0] = 0  # the mean is grey
    found = found if channels == 3 else found[:1].expand(channels, -1, -1)
    return found * contrast / _deviation(found, size)


def _deviation(magnitudes: Tensor, size: Size) -> Tensor:
    """The standard deviation of a picture with these magnitudes, over all its channels (Parseval)."""
    h, w = size
    twice = torch.full((w // 2 + 1,), 2.0)
    twice[0] = 1
    if w % 2 == 0:
        twice[-1] = 1
    return ((magnitudes.square() * twice).sum((1, 2)) / (h * w)).mean().sqrt()
