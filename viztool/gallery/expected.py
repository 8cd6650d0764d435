"""How long pictures of the gallery will take: what they took on one machine, in forwards of the embedded network."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

import torch

from viztool.gallery.piece import Piece

_QUICK, _SLOW = 170, 1200
"""CPU time of a piece in forwards: the means of 41 quick and of 10 slow ones, the latter with a margin."""


def seconds_of(pieces: Sequence[Piece], forward: Callable[[], float] | None = None) -> float:
    """What `build_gallery` of these pieces will take on this machine.

    forward: gives the seconds of one forward on one core; by default it is measured.
    """
    if not pieces:
        return 0.0
    costs = [_SLOW if piece.slow else _QUICK for piece in pieces]
    side_by_side = min(os.cpu_count() or 1, len(pieces))
    return max(max(costs), sum(costs) / side_by_side) * (forward or _forward)()


def _forward() -> float:
    from viztool.models import load_model

    model, threads = load_model(), torch.get_num_threads()
    x = torch.zeros(1, model.channels, *model.size)
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            return sorted(_seconds(lambda: model.net(x)) for _ in range(7))[3]
    finally:
        torch.set_num_threads(threads)


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
