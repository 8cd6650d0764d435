"""Total-order Sobol indices: the share of a score's variance that is gone when one factor alone is held."""

from __future__ import annotations

import torch
from torch import Tensor


def design(points: int, factors: int, seed: int) -> Tensor:
    """What the factors are set to: (points · (factors + 2), factors) in [0, 1].

    First a sample A, then another B, then for each factor A with that factor from B. Both are one scrambled Sobol
    sequence, which fills the cube more evenly than chance does.
    """
    pair = torch.quasirandom.SobolEngine(2 * factors, scramble=True, seed=seed).draw(points)
    a, b = pair[:, :factors], pair[:, factors:]
    mixed = a.repeat(factors, 1, 1)
    for factor in range(factors):
        mixed[factor, :, factor] = b[:, factor]
    return torch.cat([a, b, mixed.flatten(0, 1)])


def total_order(scores: Tensor, factors: int) -> tuple[Tensor, Tensor]:
    """The total-order index of each factor, and its standard error: (factors,) each.

    scores: (N, points · (factors + 2)), of N photos, each at a design of its own. S_i = E[(f(A) − f(A with i of B))²] /
    (2 Var f), both means over photos (Jansen 1999). The error is that of a ratio of means over independent photos, to
    first order; NaN for a single one. A score that never changes has no index but 0.
    """
    a, b, mixed = scores.double().split([points := scores.shape[1] // (factors + 2), points, points * factors], 1)
    lost = (a[:, None] - mixed.unflatten(1, (factors, points))).square().mean(2) / 2
    # Over n and not n − 1: points that fill the cube evenly have the cube's variance, not a sample's.
    variance = torch.cat([a, b], 1).var(1, correction=0)
    whole = variance.mean()
    if not float(whole) > 0:
        return torch.zeros(factors), torch.zeros(factors)
    index = lost.mean(0) / whole
    apart = (lost - index * variance[:, None]) / whole
    return index, standard_error(apart)


def standard_error(values: Tensor) -> Tensor:
    """Of the mean over the first dimension; NaN of one value alone."""
    return values.std(0) / len(values) ** 0.5 if len(values) > 1 else torch.full_like(values[0], torch.nan)
