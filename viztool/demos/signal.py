"""Small measures that several demos share: blocks, noise, decibels, phases."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from torch import Tensor

Array = npt.NDArray[np.float64]


def blocks(image: npt.NDArray[np.generic], side: int = 2) -> Array:
    """(H, W) to (H // side, W // side, side²): the values of each block; what is left over is cut off."""
    height, width = image.shape[0] // side, image.shape[1] // side
    cut = np.asarray(image, np.float64)[: height * side, : width * side]
    split: Array = cut.reshape(height, side, width, side).swapaxes(1, 2)
    return split.reshape(height, width, side * side)


def psnr(image: Array, clean: Array) -> float:
    """Peak signal-to-noise ratio in dB, of values in [0, 1]; infinite if they are equal."""
    error = float(np.mean((image - clean) ** 2))
    return float("inf") if error == 0 else float(-10 * np.log10(error))


def add_noise(image: Array, kind: str, rng: np.random.Generator, *, sigma: float = 0.1, rate: float = 0.05) -> Array:
    """The image in [0, 1] with noise: "gaussian" (not clipped), "salt", "pepper", or "both" at half the rate each."""
    if kind == "gaussian":
        return image + sigma * rng.normal(size=image.shape)
    hit = rng.random(image.shape)
    if kind == "both":
        return np.where(hit < rate / 2, 1.0, np.where(hit < rate, 0.0, image))
    return np.where(hit < rate, 1.0 if kind == "salt" else 0.0, image)


def phases(maps: Tensor, stride: int) -> Tensor:
    """(..., H, W) to (..., s, s, H // s, W // s): the samples of each polyphase component."""
    height, width = maps.shape[-2] // stride, maps.shape[-1] // stride
    cut = maps[..., : height * stride, : width * stride]
    split = cut.reshape(*maps.shape[:-2], height, stride, width, stride)
    return split.movedim((-3, -1), (-4, -3))


def grid_index(maps: Tensor, stride: int) -> Tensor:
    """(...): the share of a map's variance that lies in a grid of that period, 0 to 1; 0 for a constant map.

    The variance of the means of its s × s polyphase components over the variance of all: by Parseval the energy at
    the harmonics of 1/s over the energy without the mean.
    """
    parts = phases(maps.double(), stride)
    between = parts.mean((-2, -1)).var((-2, -1), unbiased=False)
    total = parts.flatten(-4).var(-1, unbiased=False)
    return (between / total.clamp_min(1e-300)).where(total > 0, 0.0)


def strong(values: npt.NDArray[np.generic]) -> float:
    """Where the colours of a map of edges end: 1 % of it is stronger, and without an end there most would be white."""
    return float(np.quantile(np.abs(np.asarray(values, np.float64)), 0.99)) or float(np.abs(values).max(initial=0.0))
