"""The photos that a unit answers to most, or least: a short list that merges, the same whatever the order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {"value": self.value, "photo": self.photo, "row": self.row, "column": self.column}


def take_in(best: Ranks, new: Ranks, keep: int, *, largest: bool) -> Ranks:
    """`merge` of the two, quick where few of the new ones are among the best. `best` may be changed for it."""
    if best.value.shape[1] < keep or not new.value.shape[1]:
        return merge([best, new], keep, largest=largest)
    worst, first = best.value[:, -1], new.value[:, 0]
    beaten = first > worst if largest else first < worst
    beaten |= (first == worst) & (new.photo[:, 0] < best.photo[:, -1])
    changed = np.flatnonzero(((best.photo[:, -1] < 0) | beaten) & (new.photo[:, 0] >= 0))
    if 2 * len(changed) > len(best.photo):
        return merge([best, new], keep, largest=largest)
    if len(changed):
        some = merge([_of(best, changed), _of(new, changed)], keep, largest=largest)
        for name, array in best.arrays.items():
            array[changed] = some.arrays[name]
    return best


def _of(ranks: Ranks, channels: npt.NDArray[np.intp]) -> Ranks:
    return Ranks(ranks.value[channels], ranks.photo[channels], ranks.row[channels], ranks.column[channels])


def merge(parts: Sequence[Ranks], keep: int, *, largest: bool) -> Ranks:
    """The best `keep` of all: those with the largest values, or the smallest. A photo stands in one part only."""
    joined = {name: np.concatenate([part.arrays[name] for part in parts], axis=1) for name in parts[0].arrays}
    order = np.argsort(_keys(joined["value"], joined["photo"], largest=largest), axis=1, kind="stable")[:, :keep]
    at = order + np.arange(len(order))[:, None] * joined["value"].shape[1]
    return Ranks(**{name: array.reshape(-1).take(at) for name, array in joined.items()})


def _keys(value: npt.NDArray[np.float32], photo: npt.NDArray[np.int32], *, largest: bool) -> npt.NDArray[np.int64]:
    """Rising with the rank: value in the upper half, photo in the lower; one key is sorted faster than two.

    The bits of floats rise with their size: those of negative ones have to be turned round.
    """
    bits = (value + np.float32(0)).view(np.int32)  # a zero of either sign is the same zero
    rising = bits ^ ((bits >> 31) & np.int32(2**31 - 1))
    keys: npt.NDArray[np.int64] = (~rising if largest else rising).astype(np.int64) << 32 | photo
    keys[photo < 0] = np.iinfo(np.int64).max
    return keys
