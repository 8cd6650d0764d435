"""Optimised pictures as arrays to draw."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from torch import Tensor

from viztool.render.colormaps import Picture


def to_pixels(image: Tensor) -> Picture:
    """(C, h, w) in [0, 1] as uint8 (h, w, 3): one channel in grey, of several the first three as colours."""
    shown = image[:3] if len(image) >= 3 else image[:1].expand(3, -1, -1)
    return np.ascontiguousarray((shown * 255).round().byte().permute(1, 2, 0).cpu().numpy())


def enlarged(pixels: Picture) -> Picture:
    """So many times as large, each pixel a square, that 128 of them are across."""
    times = max(1, math.ceil(128 / max(pixels.shape[:2])))
    return pixels.repeat(times, 0).repeat(times, 1)


def opacity(alpha: Tensor) -> npt.NDArray[np.uint8]:
    """Summed gradient magnitude, clipped at its 80th percentile, as in MACO."""
    limit = float(alpha.flatten().quantile(0.8)) if alpha.numel() < 2**24 else float(alpha.max())
    return np.asarray((alpha / max(limit, 1e-20)).clamp(0, 1).mul(255).round().byte().numpy())
