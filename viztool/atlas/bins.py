"""Fixed bins for activations of any size: counts in them are whole numbers, and add up to the same in any order.

A bin is what the upper bits of a float32 say: its sign, its exponent and six bits of its fraction. So there are 64 bins
from each power of two to the next, equally wide, and who counts needs no logarithm. From 2⁻¹⁶ to 2¹⁶ a bin's middle
(the harmonic mean of its ends) is at most 1/129, 0.78 %, from any value in it. What is smaller is counted as 0, what is
larger in the last bin of its sign. (DDSketch, Masson, Rim & Lee 2019, bounds relative errors by such bins; theirs are
even on the logarithm.)
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_LOWEST, _HIGHEST = -16, 16
_STEPS = 64
SIDE = (_HIGHEST - _LOWEST) * _STEPS
"""Bins on either side of zero."""

COUNT = 2 * SIDE + 1
"""All bins: the negative ones from the largest on, zero, the positive ones."""

RELATIVE_ERROR = 1 / 129
"""Of a quantile, where its size is from 2⁻¹⁶ to 2¹⁶."""

Counts = npt.NDArray[np.int64]


def codes(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """The bin of each value, 0 to COUNT − 1, in the values' shape. values: C-contiguous and finite."""
    upper = 1 if np.little_endian else 0
    halves = values.view(np.uint16).reshape(*values.shape, 2)[..., upper]
    return _BIN_OF_UPPER_BITS.take(halves)


def count(coded: npt.NDArray[np.uint16]) -> Counts:
    """How many of these codes fall into each bin: (COUNT,)."""
    return np.bincount(coded.reshape(-1), minlength=COUNT).astype(np.int64, copy=False)


def middles() -> npt.NDArray[np.float64]:
    """(COUNT,): the value that stands for each bin, rising; 0 for the one in the middle."""
    return np.concatenate([-_POSITIVE[::-1], [0.0], _POSITIVE])


def edges() -> npt.NDArray[np.float64]:
    """(COUNT + 1,): where the bins begin and end. Those of zero are ±2⁻¹⁶; the outermost hold all beyond, too."""
    return np.concatenate([-_ENDS[::-1], _ENDS])


def quantile(counts: npt.NDArray[np.integer], share: float) -> float:
    """The smallest bin's value that at least this share of all counted values does not exceed; NaN of none."""
    reached = np.cumsum(counts, dtype=np.int64)
    if not len(reached) or reached[-1] == 0:
        return float("nan")
    needed = max(1, int(np.ceil(share * int(reached[-1]))))
    return float(middles()[int(np.searchsorted(reached, needed))])


def _ends() -> npt.NDArray[np.float64]:
    steps = np.arange(SIDE + 1)
    return np.asarray(2.0 ** (_LOWEST + steps // _STEPS) * (1 + steps % _STEPS / _STEPS), dtype=np.float64)


_ENDS = _ends()
_POSITIVE = 2 * _ENDS[:-1] * _ENDS[1:] / (_ENDS[:-1] + _ENDS[1:])


def _bin_of_upper_bits() -> npt.NDArray[np.uint16]:
    """By the upper 16 bits of a float32: sign, eight bits of exponent, seven of the fraction."""
    upper = np.arange(2**16)
    size = ((upper & 0x7FFF) >> 1) - ((127 + _LOWEST) * _STEPS) + 1
    size = size.clip(0, SIDE)
    return (SIDE + np.where(upper & 0x8000, -size, size)).astype(np.uint16)


_BIN_OF_UPPER_BITS = _bin_of_upper_bits()
