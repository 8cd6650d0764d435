"""Bins: exact counts, and quantiles that are right to a stated error."""

from __future__ import annotations

import numpy as np
import pytest

from viztool.atlas import bins


def test_each_value_lies_in_its_bin():
    rng = np.random.default_rng(0)
    sizes = 2.0 ** rng.uniform(-16, 15.99, 20_000)
    values = (sizes * rng.choice([-1, 1], 20_000)).astype(np.float32)
    edges, codes = bins.edges(), bins.codes(values)
    found = np.searchsorted(edges, values.astype(np.float64), side="right") - 1
    positive = values > 0
    assert np.array_equal(codes[positive], found[positive])
    # A negative bin holds its lower end in size, which is its upper one in value.
    mirrored = bins.COUNT - 1 - bins.codes(-values)
    assert np.array_equal(codes, mirrored)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (0.0, bins.SIDE),
        (-0.0, bins.SIDE),
        (2.0**-17, bins.SIDE),
        (2.0**-16, bins.SIDE + 1),
        (-(2.0**-16), bins.SIDE - 1),
        (2.0**16, bins.COUNT - 1),
        (1e30, bins.COUNT - 1),
        (-1e30, 0),
        (1.0, bins.SIDE + 1 + 16 * 64),
        (1.015625, bins.SIDE + 2 + 16 * 64),
    ],
)
def test_what_is_small_or_large(value, code):
    assert bins.codes(np.array([value], np.float32))[0] == code


def test_the_middle_is_as_near_as_it_says():
    middles, edges = bins.middles(), bins.edges()
    low, high = edges[bins.SIDE + 1 : -1], edges[bins.SIDE + 2 :]
    middle = middles[bins.SIDE + 1 :]
    worst = max(((middle - low) / low).max(), ((high - middle) / high).max())
    assert worst <= bins.RELATIVE_ERROR + 1e-12
    assert worst > bins.RELATIVE_ERROR * 0.99  # the error that is stated is reached
    assert np.array_equal(middles, -middles[::-1])


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9, 0.99, 0.999, 1.0])
def test_a_quantile_is_that_of_the_sorted_values(share):
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.normal(0, 3, 5_000), np.zeros(2_000), rng.exponential(40, 777)]).astype(np.float32)
    counts = bins.count(bins.codes(values))
    assert counts.sum() == len(values)
    exact = np.sort(values)[max(0, int(np.ceil(share * len(values))) - 1)]
    assert bins.quantile(counts, share) == pytest.approx(exact, rel=bins.RELATIVE_ERROR, abs=2.0**-16)


def test_of_nothing_there_is_no_quantile():
    assert np.isnan(bins.quantile(np.zeros(bins.COUNT, np.int64), 0.5))
