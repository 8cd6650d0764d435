"""Of one layer: what is kept of each photo's maps while a range goes by."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np
import numpy.typing as npt

from viztool.atlas import bins
from viztool.atlas.part import LayerPart
from viztool.atlas.ranks import Ranks, merge

Map = npt.NDArray[np.float32]

_BUFFER = 2**25
"""Positions of a layer whose bins are noted before they are counted: counting has a cost for each channel."""


Counted = tuple[npt.NDArray[np.int64], npt.NDArray[np.uint16], npt.NDArray[np.uint32]]
"""Rows, bins and counts, as `LayerPart` has them."""

_FEW = 2048
"""Positions of a channel up to which sorting them is quicker than a count of all bins."""


@dataclass(frozen=True)
class Look:
    """What is needed of one layer's maps of n photos; C channels. All but `codes`: (n, C).

    codes: the bins of all positions, (n, C, h·w).
    """

    highest: Map
    highest_at: npt.NDArray[np.int64]
    lowest: Map
    lowest_at: npt.NDArray[np.int64]
    mean: Map
    codes: npt.NDArray[np.uint16]
    width: int

    def first(self, count: int) -> Look:
        """That of the first photos alone."""
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        return Look(**{name: value if name == "width" else value[:count] for name, value in own.items()})

    @property
    def finite(self) -> npt.NDArray[np.bool_]:
        """(n,): whether all of a photo's values are. A sum is, if all of its terms are."""
        return np.asarray((np.isfinite(self.mean) & np.isfinite(self.highest) & np.isfinite(self.lowest)).all(1))


def look(maps: Map) -> Look:
    """maps: (n, C, h, w). Of equal values the first place counts, by row, then by column."""
    flat = np.ascontiguousarray(maps, dtype=np.float32).reshape(*maps.shape[:2], -1)
    highest_at, lowest_at = flat.argmax(2), flat.argmin(2)
    return Look(
        highest=np.take_along_axis(flat, highest_at[..., None], 2)[..., 0],
        highest_at=highest_at,
        lowest=np.take_along_axis(flat, lowest_at[..., None], 2)[..., 0],
        lowest_at=lowest_at,
        mean=flat.mean(2),
        codes=bins.codes(flat),
        width=maps.shape[3],
    )


@dataclass
class Tally:
    """The layer's part of a range."""

    channels: int
    keep: int
    _top: list[Ranks] = field(default_factory=list)
    _least: list[Ranks] = field(default_factory=list)
    _relevant: list[Ranks] = field(default_factory=list)
    _maxima: list[Map] = field(default_factory=list)
    _means: list[Map] = field(default_factory=list)
    _codes: list[npt.NDArray[np.uint16]] = field(default_factory=list)
    _noted: int = 0
    _counts: npt.NDArray[np.int64] | None = None

    def add(self, seen: Look, photos: npt.NDArray[np.int32], wanted: npt.NDArray[np.bool_]) -> None:
        """photos: the number of each, rising. wanted: those that count."""
        for ranks, values, at, largest in (
            (self._top, seen.highest, seen.highest_at, True),
            (self._least, seen.lowest, seen.lowest_at, False),
        ):
            ranks.append(_ranks(values[wanted], at[wanted], photos[wanted], seen.width))
            ranks[:] = [merge(ranks, self.keep, largest=largest)]
        self._maxima.append(seen.highest[wanted])
        self._means.append(seen.mean[wanted])
        self._codes.append(seen.codes[wanted])
        self._noted += self._codes[-1].size
        if self._noted >= _BUFFER:
            self._count()

    def add_relevance(self, maps: Map, photos: npt.NDArray[np.int32], wanted: npt.NDArray[np.bool_]) -> None:
        """maps: (n, C, h, w), the relevance of each unit. The rest as in `add`; every photo is added to both."""
        flat = np.ascontiguousarray(maps, dtype=np.float32).reshape(*maps.shape[:2], -1)
        at = flat.argmax(2)
        values = np.take_along_axis(flat, at[..., None], 2)[..., 0]
        self._relevant.append(_ranks(values[wanted], at[wanted], photos[wanted], maps.shape[3]))
        self._relevant[:] = [merge(self._relevant, self.keep, largest=True)]

    def part(self, relevance: bool = False) -> LayerPart:
        """What was found in all photos that were added. relevance: whether that was asked for."""
        rows, places, counts = self._counted()
        empty = np.zeros((0, self.channels), np.float32)
        none = _ranks(empty, empty.astype(np.int64), np.zeros(0, np.int32), 1)
        return LayerPart(
            top=self._top[0] if self._top else none,
            least=self._least[0] if self._least else none,
            maxima=np.concatenate([empty, *self._maxima]),
            means=_sums(np.concatenate([empty, *self._means]).astype(np.float64)),
            rows=rows,
            bins=places,
            counts=counts,
            relevant=(self._relevant[0] if self._relevant else none) if relevance else None,
        )

    def _counted(self) -> Counted:
        if self._counts is None and self._noted <= _FEW * self.channels:
            empty = np.zeros((self.channels, 0), np.uint16)
            return _runs(np.concatenate([empty, *(_by_channel(codes) for codes in self._codes)], axis=1))
        return _sparse(self._count())

    def _count(self) -> npt.NDArray[np.int64]:
        """(C, bins): of all that was noted."""
        counts = np.zeros((self.channels, bins.COUNT), np.int64) if self._counts is None else self._counts
        for channel in range(self.channels if self._codes else 0):
            counts[channel] += bins.count(np.concatenate([part[:, channel].reshape(-1) for part in self._codes]))
        self._counts, self._codes, self._noted = counts, [], 0
        return counts


def _ranks(values: Map, at: npt.NDArray[np.int64], photos: npt.NDArray[np.int32], width: int) -> Ranks:
    """One place in each photo, not yet in order. values, at: (n, C)."""
    row, column = np.divmod(at.T.astype(np.int32), np.int32(width))
    return Ranks(
        value=np.ascontiguousarray(values.T),
        photo=np.repeat(photos[None], values.shape[1], 0),
        row=np.ascontiguousarray(row),
        column=np.ascontiguousarray(column),
    )


def _sums(means: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """As `LayerPart.means`. means: (n, C)."""
    low, high = means.min(0, initial=np.inf), means.max(0, initial=-np.inf)
    return np.stack([means.sum(0), (means**2).sum(0), low, high])


def _by_channel(codes: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
    """(n, C, positions) as (C, n · positions)."""
    n, channels, positions = codes.shape
    rows: npt.NDArray[np.uint16] = codes.transpose(1, 0, 2).reshape(channels, n * positions)
    return rows


def _runs(codes: npt.NDArray[np.uint16]) -> Counted:
    """Of codes (C, n): sorted, those that are equal stand side by side."""
    ordered = np.sort(codes, axis=1)
    begins = np.ones(ordered.shape, bool)
    np.not_equal(ordered[:, 1:], ordered[:, :-1], out=begins[:, 1:])
    at = np.flatnonzero(begins)
    rows = np.cumsum([0, *begins.sum(1)], dtype=np.int64)
    return rows, ordered.reshape(-1)[at], np.diff(at, append=ordered.size).astype(np.uint32)


def _sparse(counts: npt.NDArray[np.int64]) -> Counted:
    """Of counts (C, bins): those that are not 0."""
    flat = counts.reshape(-1)
    at = np.flatnonzero(flat)
    rows = np.searchsorted(at, np.arange(len(counts) + 1) * bins.COUNT).astype(np.int64)
    return rows, (at % bins.COUNT).astype(np.uint16), flat[at].astype(np.uint32)
