"""The kernels of a unit, many of them, as a few patterns."""

from __future__ import annotations

import numpy as np

from viztool.kernels.expanded import Array
from viztool.kernels.factors import Factors, factors
from viztool.render.kernel_row import KernelRow
from viztool.render.numbers import percent

_FACTORS, _USERS = 3, 6


def pattern_rows(kernels: Array) -> list[KernelRow]:
    """Of kernels (C, kh, kw) to a unit, for its sheet; none where there is nothing to be taken together."""
    if min(kernels.shape) < _FACTORS:
        return []
    found = factors(kernels, _FACTORS)
    return [
        KernelRow(
            f"All {len(kernels)} of these kernels as {_FACTORS} patterns, {percent(found.explained)} of "
            "their energy: non-negative factors of what drives and what holds back. Beside each the inputs that "
            "have most of it.",
            [_users(found, at) for at in range(_FACTORS)],
            list(found.patterns),
            wide=True,
        )
    ]


def _users(found: Factors, at: int) -> str:
    """The channels that have most of a pattern: with + where it drives, with − where it holds back."""
    both = np.concatenate([found.drives[at], found.holds_back[at]])
    count = len(found.drives[at])
    best = np.argsort(-both, kind="stable")[:_USERS]
    return "  ".join(f"{'+' if one < count else '−'}{one % count}" for one in best.tolist() if both[one] > 0)
