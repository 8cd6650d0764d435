"""Whether an attribution adds up to what it explains."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def balance(contributions: Tensor, whole: Tensor, of: str) -> dict[str, Any]:
    """How far the sum of each image's contributions is from the whole that they should make.

    contributions: (N, ...), or their sums (N,). whole: (N,). of: what the whole is. Ready for JSON: `of`, and lists
    of N floats: `sum`, `whole`, `error` = |sum − whole|, and `relative` = error / |whole| (None where that is 0).
    """
    total = contributions.double().reshape(len(whole), -1).sum(1)
    error = (total - whole.double()).abs()
    sizes = whole.double().abs().tolist()
    return {
        "of": of,
        "sum": total.tolist(),
        "whole": whole.double().tolist(),
        "error": error.tolist(),
        "relative": [one / size if size else None for one, size in zip(error.tolist(), sizes, strict=True)],
    }
