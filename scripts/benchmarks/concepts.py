"""Rows about `viztool.concepts`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import viztool
from benchmarks.contest import Contest, cpu_seconds, peer, row

TILES = Path(__file__).parents[2] / "gallery" / "tiles.tar"


@row("concepts: 25 of 200 photos, the embedded network", "", figure="seconds", mark=120, pairs=1)
def of_200_photos(_: ExitStack) -> Contest:
    peer("sklearn", "scikit-learn")
    model = viztool.load_model()
    # By CPU time: it is a minute long, so that it says something on a busy machine.
    return Contest(lambda: viztool.concepts(model, TILES, "espresso", count=25), None, cpu_seconds)
