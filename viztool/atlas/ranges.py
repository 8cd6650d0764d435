"""How the photos are cut into pieces of work, and where the result of each lies."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

Bounds: TypeAlias = tuple[int, int]
"""Photos by their number: the first, and one past the last."""

BATCH = 8
"""Photos in one forward. On a CPU more of them outgrow its caches."""


def ranges(count: int) -> list[Bounds]:
    """The fixed pieces that the work is cut in: a function of the number of photos alone, whole batches each.

    Short enough that several workers have something to do and an interrupted one loses little, long enough that what is
    kept of a range stays small beside its photos.
    """
    size = min(512, max(2 * BATCH, -(-count // (64 * BATCH)) * BATCH))
    return [(start, min(start + size, count)) for start in range(0, count, size)]


def part_file(folder: Path, bounds: Bounds) -> Path:
    """Where the part of these photos lies in the folder of an atlas."""
    return folder / "parts" / f"{bounds[0]:09d}-{bounds[1]:09d}.part"
