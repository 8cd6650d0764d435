"""Of forwards of few images: how features vary together, over several of them."""

from __future__ import annotations

import torch
from torch import Tensor

from viztool.monitor.measured import ENOUGH


class Pool:
    """Adds up the matrices of forwards, each about its own mean, until they are of 16 images; later ones weigh more.

    A forward of n images is n - 1 of them: so many are left when its mean is taken off. What is kept of a layer is one
    matrix, of at most 64 × 64 numbers on its device, and none where a forward has enough images.
    """

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Tensor, float]] = {}

    def add(self, key: str, matrix: Tensor, images: int) -> tuple[Tensor, float]:
        """Of this forward and those before it: the matrix, and of how many images it is."""
        if images >= ENOUGH:
            self._kept.pop(key, None)
            return matrix, images
        new = images - 1
        whole, count = torch.nan_to_num(matrix, 0.0, 0.0, 0.0) * new, float(new)
        before = self._kept.get(key)
        if before is not None and before[0].shape == whole.shape and before[0].device == whole.device:
            share = 1 - new / (2 * ENOUGH)  # so that in the end it is of twice as many
            whole, count = whole + share * before[0], new + share * before[1]
        self._kept[key] = whole, count
        return whole, count + 1
