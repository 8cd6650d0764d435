"""Photos that are in memory already."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from viztool.atlas.sources.base import Entry


@dataclass(frozen=True, eq=False)
class Arrays:
    """Photos, uint8 RGB (H, W, 3), by their number."""

    photos: tuple[npt.NDArray[np.uint8], ...]
    name: str = "photos in memory"

    @property
    def at(self) -> None:
        """Nowhere."""
        return

    def entries(self) -> list[Entry]:
        width = len(str(max(0, len(self.photos) - 1)))
        return [Entry(f"{number:0{width}}", self._stamp(number), ("", number, 0)) for number in range(len(self.photos))]

    def read(self, entry: Entry) -> npt.NDArray[np.uint8]:
        return self.photos[entry.place[1]]

    def stamp(self, entry: Entry) -> str | None:
        return self._stamp(entry.place[1]) if entry.place[1] < len(self.photos) else None

    def _stamp(self, number: int) -> str:
        return hashlib.sha256(np.ascontiguousarray(self.photos[number]).tobytes()).hexdigest()[:16]
