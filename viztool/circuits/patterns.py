"""The kernels of a unit, many of them, as a few patterns."""

from __future__ import annotations

import numpy as np

from viztool.kernels.expanded import Array
from viztool.kernels.factors import Factors, factors
from viztool.render.kernel_row import KernelRow
from viztool.render.numbers import counted, percent

_FACTORS, _USERS = 3, 6
_NOTHING = 0.005
"""Of the most that a channel has of a pattern: less is what a factorization leaves behind."""


def pattern_rows(kernels: Array) -> list[KernelRow]:
    """Of kernels (C, kh, kw) to a unit, for its sheet; none where there is nothing to be taken together.

    Kernels that are 0 do not count, and there are no more patterns than kernels that differ.
    """
    used = np.flatnonzero(np.any(kernels != 0, axis=(1, 2)))
    if min(len(used), *kernels.shape[1:]) < _FACTORS:
        return []
    count = min(_FACTORS, len(np.unique(kernels[used], axis=0)))
    found = factors(kernels[used], count)
    which = f"All {len(used)} of these kernels" + ("" if len(used) == len(kernels) else " that are not 0")
    return [
        KernelRow(
            f"{which} as {counted(count, 'patterns')}, {percent(found.explained)} of "
            "their energy: non-negative factors of what drives and what holds back. Beside each the inputs that "
            "have most of it.",
            [_users(found, at, used.tolist()) for at in range(count)],
            list(found.patterns),
            wide=True,
        )
    ]


def _users(found: Factors, at: int, names: list[int]) -> str:
    """The channels that have most of a pattern: with + where it drives, with − where it holds back."""
    both = np.concatenate([found.drives[at], found.holds_back[at]])
    count, least = len(found.drives[at]), _NOTHING * float(both.max())
    best = np.argsort(-both, kind="stable")[:_USERS]
    return "  ".join(f"{'+' if one < count else '−'}{names[one % count]}" for one in best.tolist() if both[one] > least)
