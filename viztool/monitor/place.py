"""Where along the depth of a network something begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log

_LEAST = 1e-30


def crossing(values: Mapping[str, float], held: Sequence[str], low: bool) -> str:
    """The layer to name for a gradient that is lost, or grows, on its way back to the input.

    values: of each layer, in the order in which they run. held: those beyond the threshold. low: these are too small.
    If most of it happens between two neighbours, the one of them that lies before it; if it comes about layer by layer,
    the layer that is worst.
    """
    logs = {name: log(max(value, _LEAST)) * (1 if low else -1) for name, value in values.items()}
    worst = min(held, key=lambda name: logs[name])
    order = list(values)
    last = held[-1]
    after = order[order.index(last) + 1 :]
    if not after:
        return last
    step = logs[after[0]] - logs[last]
    whole = max(logs[name] for name in after) - logs[worst]
    return last if step > whole / 2 else worst
