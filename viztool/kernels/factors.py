"""Many kernels as a few: non-negative factors of their weights (Lee and Seung 2001; for weights Voss et al. 2021)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from viztool.results import Part

Array = npt.NDArray[np.float32]

_STEPS = 300


@dataclass(frozen=True, eq=False, repr=False)
class Factors(Part):
    """patterns: (k, kh, kw), not negative, of length 1, the strongest first. drives, holds_back: (k, C), how much each
    channel's positive and negative weights have of them. explained: the share of the weights' energy.
    """

    patterns: Array
    drives: Array
    holds_back: Array
    explained: float


def factors(kernels: Array, count: int = 3, seed: int = 0) -> Factors:
    """kernels: (C, kh, kw). Their positive and their negative parts, each ≈ Σ_k amount_k · pattern_k."""
    flat = kernels.reshape(len(kernels), -1).astype(np.float64)
    parts = np.concatenate([flat.clip(0), (-flat).clip(0)])
    rng = np.random.default_rng(seed)
    amounts, patterns = rng.random((len(parts), count)) + 0.1, rng.random((count, parts.shape[1])) + 0.1
    tiny = 1e-12
    for _ in range(_STEPS):
        amounts *= (parts @ patterns.T) / (amounts @ (patterns @ patterns.T) + tiny)
        patterns *= (amounts.T @ parts) / ((amounts.T @ amounts) @ patterns + tiny)
    lengths = np.sqrt((patterns**2).sum(1))
    patterns, amounts = patterns / np.maximum(lengths, tiny)[:, None], amounts * lengths
    order = np.argsort(-(amounts**2).sum(0), kind="stable")
    energy = float((parts**2).sum())
    missed = float(((parts - amounts @ patterns) ** 2).sum())
    drives, holds_back = amounts[: len(kernels), order].T, amounts[len(kernels) :, order].T
    return Factors(
        patterns[order].reshape(count, *kernels.shape[1:]).astype(np.float32),
        drives.astype(np.float32),
        holds_back.astype(np.float32),
        1 - missed / energy if energy > 0 else 1.0,
    )
