"""What the sheets of an atlas say and show of a unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

import viztool
from viztool.atlas import bins
from viztool.atlas.atlas import Atlas
from viztool.atlas.crops import Album
from viztool.atlas.unit import Unit
from viztool.render.atlas_sheet import Counted, Crop
from viztool.render.numbers import counted, number


def words(unit: Unit) -> list[str]:
    lines = [
        f"maximum {short(unit.mean)} ± {short(unit.sd)}, up to {short(unit.maximum)}",
        f"above 0 on {_percent(unit.active)} of photos",
    ]
    if unit.relevance_known:
        count = min(8, len(unit.top))
        lines.append(f"overlap with relevance: {round(unit.overlap(count) * count)} of {count}")
        if unit.irrelevant:
            lines.append(f"left out: {counted(unit.irrelevant, 'photos')} of relevance 0")
    elif unit.labels:
        label, share = unit.labels[0]
        lines.append(f"{label}: {_percent(share)} (of all: 5 %)")
    alike = ", ".join(f"{channel} ({number(value, '.2f')})" for channel, value in unit.alike[:2])
    lines.append(f"goes with {alike}" if alike else "goes with no other")
    return lines


def crops(unit: Unit, album: Album, count: int, kind: str, word: str) -> list[Crop]:
    values = [value for _, value, *_ in getattr(unit, kind)[:count]]
    pictures = album.crops(unit, kind, count)
    return [
        Crop(picture, short(value), begins=word if not at else "")
        for at, (picture, value) in enumerate(zip(pictures, values, strict=True))
    ]


def histogram(unit: Unit, marks: Sequence[tuple[str, float]]) -> Counted:
    found = unit.histogram
    return Counted(found.edges, found.counts, marks)


def counts(units: Sequence[Unit]) -> dict[str, npt.NDArray[Any]]:
    """edges: (bins + 1,). positions, maxima: (units, bins)."""
    return {
        "edges": bins.edges(),
        "positions": np.stack([unit.counts("position") for unit in units]),
        "maxima": np.stack([unit.counts("maximum") for unit in units]),
    }


def footer(atlas: Atlas) -> str:
    failed = f" · {counted(len(atlas.failed), 'photos')} could not be read" if atlas.failed else ""
    return f"viztool {viztool.__version__} · {atlas.about['fingerprint']['preprocessing']}{failed}"


def _percent(share: float) -> str:
    return f"{number(100 * share, '.3g')} %"


def short(value: float) -> str:
    return number(value, ".3g")
