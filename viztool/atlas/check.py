"""Whether an atlas is whole: every checksum, and what is missing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from viztool.atlas import tables
from viztool.atlas.fingerprint import digest_of
from viztool.atlas.part import stamps
from viztool.atlas.ranges import Bounds, part_file, ranges
from viztool.errors import ViztoolError
from viztool.render.numbers import counted


@dataclass(frozen=True)
class Check:
    """What was compared. tables: by name, whether it is as it was written; before the build has ended only such files
    as are not. ended: whether the build has.

    missing, damaged: ranges of photos, (first, one past the last). failed: (id, reason) of photos that could not be
    read.
    """

    photos: int
    tables: Mapping[str, bool]
    missing: tuple[tuple[int, int], ...]
    damaged: tuple[tuple[int, int], ...]
    failed: tuple[tuple[str, str], ...]
    ended: bool

    @property
    def whole(self) -> bool:
        """Whether the build has ended, and nothing of it is missing or damaged."""
        return self.ended and all(self.tables.values()) and not self.missing and not self.damaged

    @property
    def lines(self) -> list[str]:
        """What a person wants to know."""
        lines = [f"{name} is damaged" for name, good in self.tables.items() if not good]
        lines += [f"photos {start} to {stop - 1}: not looked at yet" for start, stop in self.missing]
        lines += [f"photos {start} to {stop - 1}: the part is damaged" for start, stop in self.damaged]
        if self.failed:
            lines.append(f"{len(self.failed)} of {counted(self.photos, 'photos')} could not be looked at:")
            lines += [f"  {reason if name in reason else f'{name}: {reason}'}" for name, reason in self.failed]
        if not self.ended and all(self.tables.values()):
            lines.append("the build has not ended; the same command goes on with it")
        elif not self.whole:
            lines.append("the same build command mends it")
        else:
            seen = self.photos - len(self.failed)
            lines.insert(0, f"whole: {counted(seen, 'photos')} looked at, every checksum right")
        return lines

    @property
    def numbers(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "whole": self.whole,
            "photos": self.photos,
            "tables": dict(self.tables),
            "missing": [list(one) for one in self.missing],
            "damaged": [list(one) for one in self.damaged],
            "failed": [{"photo": name, "reason": reason} for name, reason in self.failed],
        }


def check_atlas(folder: str | os.PathLike[str]) -> Check:
    """Read every file of an atlas once. Raises ViztoolError if there is none."""
    place = Path(folder)
    about, told = tables.read_about(place), tables.read_json(place / tables.ATLAS)
    files = {name: False for name in (tables.ABOUT, tables.ATLAS) if tables.is_damaged(place / name)}
    if about is None and not files:
        raise ViztoolError(f"{place} holds no atlas; viztool atlas build makes one")
    if not (place / tables.ABOUT).exists():
        files[tables.ABOUT] = False
    count = 0 if told is None else int(told["photos"])
    try:
        count = len(tables.read_table(place, tables.MANIFEST))
    except ViztoolError:
        files[tables.MANIFEST] = False
    missing: list[Bounds] = []
    damaged: list[Bounds] = []
    for bounds in [] if about is None else ranges(count):
        file = part_file(place, bounds)
        if not file.exists():
            missing.append(bounds)
        elif about is not None and stamps(file, digest_of(about["fingerprint"]), bounds) is None:
            damaged.append(bounds)
    written = {} if told is None else told["tables"]
    files |= {table: tables.is_as_written(place / table, wanted) for table, wanted in written.items()}
    failed: tuple[tuple[str, str], ...] = ()
    if files.get(tables.PHOTOS):
        rows = tables.read_table(place, tables.PHOTOS, columns=["id", "error"]).to_pylist()
        failed = tuple((row["id"], row["error"]) for row in rows if row["error"] is not None)
    return Check(count, files, tuple(missing), tuple(damaged), failed, told is not None)
