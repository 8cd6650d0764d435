"""Whether an atlas is whole: every checksum, and what is missing."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from viztool.atlas import tables
from viztool.atlas.fingerprint import digest_of
from viztool.atlas.part import stamps
from viztool.atlas.ranges import part_file, ranges
from viztool.errors import ViztoolError
from viztool.render.numbers import counted


@dataclass(frozen=True)
class Check:
    """What was compared. tables: by name, whether it is as it was written; none before the build has ended.

    missing, damaged: ranges of photos, (first, one past the last). failed: (id, reason) of photos that could not be
    read.
    """

    photos: int
    tables: Mapping[str, bool]
    missing: tuple[tuple[int, int], ...]
    damaged: tuple[tuple[int, int], ...]
    failed: tuple[tuple[str, str], ...]

    @property
    def whole(self) -> bool:
        """Whether the build has ended, and nothing of it is missing or damaged."""
        return bool(self.tables) and all(self.tables.values()) and not self.missing and not self.damaged

    @property
    def lines(self) -> list[str]:
        """What a person wants to know."""
        lines = [f"{name} is damaged" for name, good in self.tables.items() if not good]
        lines += [f"photos {start} to {stop - 1}: not looked at yet" for start, stop in self.missing]
        lines += [f"photos {start} to {stop - 1}: the part is damaged" for start, stop in self.damaged]
        if self.failed:
            lines.append(f"{len(self.failed)} of {counted(self.photos, 'photos')} could not be looked at:")
            lines += [f"  {reason if name in reason else f'{name}: {reason}'}" for name, reason in self.failed]
        if not self.tables:
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
    about = tables.read_json(place / "about.json")
    if about is None or not (place / "manifest.parquet").exists():
        raise ViztoolError(f"{place} holds no atlas; viztool atlas build makes one")
    count = pq.read_metadata(place / "manifest.parquet").num_rows
    name = digest_of(about["fingerprint"])
    files = {bounds: part_file(place, bounds) for bounds in ranges(count)}
    missing = tuple(bounds for bounds, file in files.items() if not file.exists())
    damaged = tuple(bounds for bounds, file in files.items() if file.exists() and stamps(file, name, bounds) is None)
    told = tables.read_json(place / "atlas.json")
    written = {} if told is None else {table: _is(place / table, wanted) for table, wanted in told["tables"].items()}
    failed: tuple[tuple[str, str], ...] = ()
    if written.get(tables.PHOTOS):
        rows = pq.read_table(place / tables.PHOTOS, columns=["id", "error"]).to_pylist()
        failed = tuple((row["id"], row["error"]) for row in rows if row["error"] is not None)
    return Check(count, written, missing, damaged, failed)


def _is(file: Path, digest: str) -> bool:
    return file.exists() and hashlib.sha256(file.read_bytes()).hexdigest() == digest
