"""Whether an attribution adds up to what it explains."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def balance(contributions: Tensor, whole: Tensor) -> dict[str, Any]:
    """How far the sum of each image's contributions is from the whole that they should make.

    contributions: (N, ...). whole: (N,). Lists of N floats, ready for JSON: `sum`, `whole`, `error` = |sum − whole|,
    and `relative` = error / |whole| (None where the whole is 0).
    """
    total = contributions.double().flatten(1).sum(1)
    error = (total - whole.double()).abs()
    sizes = whole.double().abs().tolist()
    return {
        "sum": total.tolist(),
        "whole": whole.double().tolist(),
        "error": error.tolist(),
        "relative": [one / size if size else None for one, size in zip(error.tolist(), sizes, strict=True)],
    }
