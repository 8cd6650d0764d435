"""Counts of a range: the same whether codes are sorted or counted, in one go or in several."""

from __future__ import annotations

import numpy as np
import pytest

from viztool.atlas import bins, tally
from viztool.atlas.part import LayerPart
from viztool.atlas.ranges import BATCH


def part_of(maps: np.ndarray, wanted: np.ndarray) -> LayerPart:
    found = tally.Tally(maps.shape[1], 4)
    for start in range(0, len(maps), BATCH):
        stop = start + BATCH
        numbers = np.arange(start, min(stop, len(maps)), dtype=np.int32)
        found.add(tally.look(maps[start:stop]), numbers, wanted[start:stop])
    return found.part()


@pytest.mark.parametrize("wanted", ["all", "some", "none"])
@pytest.mark.parametrize(("few", "buffer"), [(2**40, 2**25), (-1, 2**25), (-1, 500), (2**40, 500)])
def test_the_counts_are_those_of_each_value_alone(monkeypatch, few, buffer, wanted):
    monkeypatch.setattr(tally, "_FEW", few)
    monkeypatch.setattr(tally, "_BUFFER", buffer)
    rng = np.random.default_rng(0)
    maps = np.maximum(rng.standard_normal((20, 5, 3, 4), dtype=np.float32).round(1), -0.5)
    maps[:, 2] = 0  # one value everywhere
    keep = {"all": np.ones(20, bool), "some": rng.random(20) > 0.4, "none": np.zeros(20, bool)}[wanted]
    found = part_of(maps, keep)
    assert (found.rows.dtype, found.bins.dtype, found.counts.dtype) == (np.int64, np.uint16, np.uint32)
    assert len(found.rows) == 6
    for channel in range(5):
        values, counts = np.unique(bins.codes(np.ascontiguousarray(maps[keep, channel])), return_counts=True)
        own = slice(found.rows[channel], found.rows[channel + 1])
        assert found.bins[own].tolist() == values.tolist()
        assert found.counts[own].tolist() == counts.tolist()
