"""A picture made from its Fourier coefficients, in decorrelated colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from viztool.kernels.color import correlate, decorrelate
from viztool.kernels.parameterizations.base import Canvas, Parameterization, Shape, logit, normal
from viztool.tensors.size import Size

_CONTRAST = 4.0
"""Divides the picture before the sigmoid (the code of lucid)."""


@dataclass(frozen=True)
class Fourier(Parameterization):
    """Fourier coefficients, each scaled by 1 / frequency ** decay, through decorrelated colours and a sigmoid.

    Steepest ascent in these coordinates spreads what a step changes over frequencies and colours as photos do.
    sd: of the coefficients at the start. decay: at 1, as lucid has it, a step changes every band of frequencies as
    much as photos have of it; above, coarse ones more. At 1.25 the default network's classes have less than half the
    high frequencies, and activations stay as high. Olah et al. 2017, "Feature Visualization".
    """

    name = "fourier"
    sd: float = 0.01
    decay: float = 1.25

    def start(self, shape: Shape, generators: Sequence[torch.Generator]) -> Canvas:
        """Faint clouds on grey."""
        h, w = shape.size
        numbers = normal((shape.channels, h, w // 2 + 1, 2), generators, shape.device)
        return FourierCanvas(self.sd * numbers, shape.size, self.decay)

    def resume(self, images: Tensor) -> Canvas:
        """The coefficients of the pictures."""
        size = (images.shape[-2], images.shape[-1])
        spectrum = torch.fft.rfft2(_CONTRAST * decorrelate(logit(images)), norm="ortho")
        scale = spectrum_scale(size, self.decay).to(images)
        return FourierCanvas(torch.view_as_real(spectrum).contiguous() / scale[..., None], size, self.decay)


class FourierCanvas(Canvas):
    """spectrum: (N, C, h, w // 2 + 1, 2), real and imaginary parts, not scaled yet."""

    def __init__(self, spectrum: Tensor, size: Size, decay: float) -> None:
        self.parameters = [spectrum.requires_grad_()]
        self._size = size
        self._scale = spectrum_scale(size, decay).to(spectrum)[..., None] / _CONTRAST

    def image(self) -> Tensor:
        """The pictures, (N, C, h, w) in [0, 1]."""
        spectrum = torch.view_as_complex(self.parameters[0] * self._scale)
        return correlate(torch.fft.irfft2(spectrum, s=self._size, norm="ortho")).sigmoid()


def frequencies(size: Size) -> Tensor:
    """Cycles per pixel of each coefficient of `torch.fft.rfft2`: (h, w // 2 + 1)."""
    h, w = size
    return torch.hypot(torch.fft.fftfreq(h)[:, None], torch.fft.rfftfreq(w)[None])


def spectrum_scale(size: Size, decay: float) -> Tensor:
    """1 / frequency ** decay, with the mean's own as large as that of the longest wave.

    As strong altogether, in the root of the sum of squares, as for a decay of 1: what it changes is the balance.
    """
    wavelength = 1 / frequencies(size).clamp_min(1 / max(size))
    scale = wavelength**decay
    return scale * (wavelength.square().sum() / scale.square().sum()).sqrt()
