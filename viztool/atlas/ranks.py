"""The photos that a unit answers to most, or least: a short list that merges, the same whatever the order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Ranks:
    """For each of C channels its best places, at most one in a photo, best first. All fields are (C, k).

    photo: its number in the manifest, −1 where there are fewer photos than places. row, column: in the layer's map.
    Of equal values the one in the photo with the lower number comes first.
    """

    value: npt.NDArray[np.float32]
    photo: npt.NDArray[np.int32]
    row: npt.NDArray[np.int32]
    column: npt.NDArray[np.int32]

    @property
    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        return {"value": self.value, "photo": self.photo, "row": self.row, "column": self.column}


def merge(parts: Sequence[Ranks], keep: int, *, largest: bool) -> Ranks:
    """The best `keep` of all: those with the largest values, or the smallest. A photo stands in one part only."""
    joined = {name: np.concatenate([part.arrays[name] for part in parts], axis=1) for name in parts[0].arrays}
    value = joined["value"].astype(np.float64)
    key = np.where(joined["photo"] < 0, np.inf, -value if largest else value)
    order = np.lexsort((joined["photo"], key), axis=1)[:, :keep]
    return Ranks(**{name: np.ascontiguousarray(np.take_along_axis(array, order, 1)) for name, array in joined.items()})
