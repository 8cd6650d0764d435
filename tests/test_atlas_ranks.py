"""Ranks: the best places, ties settled, the same in whatever order they are merged."""

from __future__ import annotations

import numpy as np
import pytest

from viztool.atlas.ranks import Ranks, merge, take_in


def ranks_of(rng: np.random.Generator, photos: np.ndarray, channels: int) -> Ranks:
    """One place of each photo, with many equal values."""
    shape = (channels, len(photos))
    return Ranks(
        value=rng.integers(0, 4, shape).astype(np.float32),
        photo=np.repeat(photos[None].astype(np.int32), channels, 0),
        row=rng.integers(0, 9, shape).astype(np.int32),
        column=rng.integers(0, 9, shape).astype(np.int32),
    )


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("keep", [1, 3, 40])
def test_it_is_what_sorting_everything_gives(largest, keep):
    rng = np.random.default_rng(keep)
    parts = [ranks_of(rng, np.arange(start, start + 7), 5) for start in range(0, 28, 7)]
    rows = [
        sorted(
            ((-v if largest else v), p, r, c)
            for part in parts
            for v, p, r, c in zip(part.value[ch], part.photo[ch], part.row[ch], part.column[ch], strict=True)
        )[:keep]
        for ch in range(5)
    ]
    for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
        merged = merge([parts[order[0]]], keep, largest=largest)
        for at in order[1:]:
            new = merge([parts[at]], keep, largest=largest)
            both = merge([merged, new], keep, largest=largest)
            merged = take_in(merged, new, keep, largest=largest)
            assert all(np.array_equal(array, both.arrays[name]) for name, array in merged.arrays.items())
        for ch in range(5):
            found = list(
                zip(
                    -merged.value[ch] if largest else merged.value[ch],
                    merged.photo[ch],
                    merged.row[ch],
                    merged.column[ch],
                    strict=True,
                )
            )
            assert found == rows[ch]


def test_an_empty_place_comes_last():
    empty = Ranks(np.full((1, 2), 9, np.float32), np.full((1, 2), -1, np.int32), *(np.zeros((1, 2), np.int32),) * 2)
    own = Ranks(np.array([[1.0]], np.float32), *(np.array([[4]], np.int32),) * 3)
    assert merge([empty, own], 3, largest=True).photo.tolist() == [[4, -1, -1]]
