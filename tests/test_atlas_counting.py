"""Counts of all parts together: the same however many wait, and however many channels are added at once."""

from __future__ import annotations

import numpy as np
import pytest

from viztool.atlas import bins, counting
from viztool.atlas.counting import Counting


def histogram(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of codes (n, C): rows, bins and counts, as a part has them."""
    each = [np.unique(own, return_counts=True) for own in codes.T]
    rows = np.cumsum([0, *(len(places) for places, _ in each)])
    places, counts = (np.concatenate(arrays) for arrays in zip(*each, strict=True))
    return rows, places, counts.astype(np.uint32)


@pytest.mark.parametrize(("waiting", "block"), [(2**22, 64), (1, 64), (100, 2), (2**22, 3)])
def test_it_is_what_counting_everything_gives(monkeypatch, waiting, block):
    monkeypatch.setattr(counting, "_WAITING", waiting)
    monkeypatch.setattr(counting, "_BLOCK", block)
    rng = np.random.default_rng(0)
    parts = [rng.integers(2000, 2040, (n, 7)).astype(np.uint16) for n in (30, 0, 5, 12)]
    found, single = Counting(7), Counting(7)
    for codes in parts:
        if len(codes):
            found.add(*histogram(codes))
        single.add_codes(codes)
    wanted = np.stack([np.bincount(own, minlength=bins.COUNT) for own in np.concatenate(parts).T])
    assert np.array_equal(found.total, wanted)
    assert np.array_equal(single.total, wanted)
    found.add(*histogram(parts[2]))  # it goes on after it was asked
    single.add_codes(parts[2])
    wanted += np.stack([np.bincount(own, minlength=bins.COUNT) for own in parts[2].T])
    assert np.array_equal(found.total, wanted)
    assert np.array_equal(single.total, wanted)


def test_nothing_counts_nothing():
    assert not Counting(3).total.any()
