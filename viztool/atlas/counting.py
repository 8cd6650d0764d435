"""How many values of each channel fall into each bin, over all parts: whole numbers, added in any order."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from viztool.atlas import bins

Counts = npt.NDArray[np.int64]
Codes = npt.NDArray[np.uint16]

_WAITING = 2**22
"""Counts that are noted before they are added: channel by channel they stay in the processor's cache."""

_BLOCK = 64
"""Channels whose counts are added at once: as many as that cache holds."""


@dataclass
class Counting:
    """Histograms of C channels, from those of parts and from single values."""

    channels: int
    _sum: Counts = field(init=False)
    _histograms: list[tuple[npt.NDArray[np.int64], Codes, npt.NDArray[np.uint32]]] = field(default_factory=list)
    _singles: list[Codes] = field(default_factory=list)
    _noted: int = 0

    def __post_init__(self) -> None:
        self._sum = np.zeros((self.channels, bins.COUNT), np.int64)

    def add(self, rows: npt.NDArray[np.int64], places: Codes, counts: npt.NDArray[np.uint32]) -> None:
        """Those of a part: as `LayerPart` has them."""
        self._histograms.append((rows, places, counts))
        self._note(len(places))

    def add_codes(self, codes: Codes) -> None:
        """codes: (n, C), the bins of n values of each channel."""
        self._singles.append(codes)
        self._note(codes.size)

    @property
    def total(self) -> Counts:
        """(C, COUNT)."""
        self._settle()
        return self._sum

    def _note(self, count: int) -> None:
        self._noted += count
        if self._noted >= _WAITING:
            self._settle()

    def _settle(self) -> None:
        begins = np.arange(_BLOCK) * bins.COUNT
        singles = np.concatenate([np.zeros((0, self.channels), np.uint16), *self._singles])
        for first in range(0, self.channels if self._noted else 0, _BLOCK):
            last = min(first + _BLOCK, self.channels)
            own = begins[: last - first]
            block = self._sum[first:last].reshape(-1)
            for rows, places, counts in self._histograms:
                some = slice(rows[first], rows[last])
                at = np.repeat(own, np.diff(rows[first : last + 1])) + places[some]
                np.add.at(block, at, counts[some].astype(np.int64))  # of one type it is twice as fast
            np.add.at(block, (singles[:, first:last].T + own[:, None]).reshape(-1), 1)
        self._histograms, self._singles, self._noted = [], [], 0
