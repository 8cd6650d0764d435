"""How alike two maps are: rank correlation and structural similarity."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

# Wang et al. 2004: an 11 × 11 Gaussian window of σ 1.5, and the constants that keep flat windows from 0/0.
_WINDOW, _SIGMA = 11, 1.5
_K1, _K2 = 0.01, 0.03


def spearman(a: Tensor, b: Tensor) -> Tensor:
    """Rank correlation of maps, a and b (N, ...): (N,) in [−1, 1]; ties share their mean rank.

    0 where a map is flat, which says nothing of any order; but 1 where both are the same.
    """
    ranks = [torch.stack([mean_ranks(each.flatten()) for each in maps]) for maps in (a, b)]
    x, y = (each - each.mean(1, keepdim=True) for each in ranks)
    scale = x.norm(dim=1) * y.norm(dim=1)
    correlation = torch.where(scale > 0, (x * y).sum(1) / scale, 0.0)
    same = (a == b).flatten(1).all(1)
    return torch.where(same, 1.0, correlation).float()


def mean_ranks(values: Tensor) -> Tensor:
    """The rank of each value from 1, equal ones at the mean of theirs: (n,) float64."""
    _, groups, counts = values.unique(return_inverse=True, return_counts=True)
    middles: Tensor = counts.cumsum(0).double() - (counts - 1) / 2
    return middles[groups]


def ssim(a: Tensor, b: Tensor, span: float) -> Tensor:
    """Structural similarity of maps, a and b (N, H, W), whose values span that much: (N,) in [−1, 1]. Wang 2004."""
    size = min(_WINDOW, *a.shape[1:])
    offsets = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    line = torch.softmax(-(offsets**2) / (2 * _SIGMA**2), 0)
    window = (line[:, None] * line)[None, None]

    def local(maps: Tensor) -> Tensor:
        return F.conv2d(maps[:, None], window)

    x, y = a.double(), b.double()
    mean_x, mean_y = local(x), local(y)
    var_x, var_y = local(x * x) - mean_x**2, local(y * y) - mean_y**2
    covariance = local(x * y) - mean_x * mean_y
    c1, c2 = (_K1 * span) ** 2, (_K2 * span) ** 2
    means = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return (means * (2 * covariance + c2) / (var_x + var_y + c2)).mean((1, 2, 3)).float()
