"""Colours whose channels vary independently in photos, and RGB."""

from __future__ import annotations

import torch
from torch import Tensor

# Square root of the covariance of ImageNet's colours (Olah et al. 2017, the code of lucid).
_SQRT_COVARIANCE = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))


def _matrix() -> Tensor:
    root = torch.tensor(_SQRT_COVARIANCE, dtype=torch.float64)
    scaled: Tensor = root / root.norm(dim=0).max()
    return scaled


_TO_RGB = _matrix()
_FROM_RGB = torch.linalg.inv(_TO_RGB)


def correlate(x: Tensor) -> Tensor:
    """Decorrelated colours to RGB before the sigmoid, (N, 3, ...); other numbers of channels stay as they are."""
    return _mixed(x, _TO_RGB)


def decorrelate(x: Tensor) -> Tensor:
    """The inverse of `correlate`."""
    return _mixed(x, _FROM_RGB)


def _mixed(x: Tensor, matrix: Tensor) -> Tensor:
    if x.shape[1] != 3:
        return x
    return (matrix.to(x) @ x.flatten(2)).view_as(x)
