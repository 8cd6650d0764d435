"""Whether two ways to compute a tensor come to the same."""

from __future__ import annotations

import torch
from torch import Tensor


def alike(expected: Tensor, found: Tensor, tolerance: float) -> bool:
    """Whether they differ by no more than rounding in another order. tolerance: as a share of the largest value."""
    if expected.shape != found.shape or not expected.is_floating_point():
        return torch.equal(expected, found)
    return torch.allclose(expected, found, rtol=0, atol=tolerance * float(expected.abs().amax()))
