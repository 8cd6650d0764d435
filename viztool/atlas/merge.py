"""From parts to what is known of every unit over all photos, in memory that does not grow with them.

Parts are taken in the order of their ranges, each once, so that sums of floats are the same whoever made the parts.
Counts are whole numbers, and of places the best are kept with ties settled.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from viztool.atlas import bins
from viztool.atlas.counting import Counting, Counts
from viztool.atlas.moments import Doubles, Moments, Products, Sums
from viztool.atlas.part import LayerPart, Part
from viztool.atlas.ranks import Ranks, merge, take_in

ANSWERS = 0.95
"""A photo is one that a unit answers to if its maximum is above this quantile of all photos' maxima."""


@dataclass
class LayerTotals:
    """One layer over all photos so far."""

    channels: int
    keep: int
    top: Ranks | None = None
    least: Ranks | None = None
    relevant: Ranks | None = None
    maxima: Moments = field(init=False)
    means: Sums = field(init=False)
    active: Counts = field(init=False)
    _positions: Counting = field(init=False)
    _highest: Counting = field(init=False)
    _products: Products = field(init=False)

    def __post_init__(self) -> None:
        self.maxima, self.means = Moments(self.channels), Sums(self.channels)
        self.active = np.zeros(self.channels, np.int64)
        self._positions, self._highest = Counting(self.channels), Counting(self.channels)
        self._products = Products(self.channels)

    def add(self, part: LayerPart) -> None:
        """Parts come in the order of their ranges."""
        self.top = _joined(self.top, part.top, self.keep, largest=True)
        self.least = _joined(self.least, part.least, self.keep, largest=False)
        if part.relevant is not None:
            self.relevant = _joined(self.relevant, part.relevant, self.keep, largest=True)
        shifted = self.maxima.add(part.maxima)
        self.means.add(len(part.maxima), part.means)
        if shifted is not None:
            self._products.add(shifted)
        self.active += (part.maxima > 0).sum(0)
        self._positions.add(part.rows, part.bins, part.counts)
        self._highest.add_codes(bins.codes(np.ascontiguousarray(part.maxima)))

    @property
    def positions(self) -> Counts:
        """(C, bins): of the values at all positions, how many fall into each bin."""
        return self._positions.total

    @property
    def highest(self) -> Counts:
        """(C, bins): of the photos' maxima, how many fall into each bin."""
        return self._highest.total

    @property
    def products(self) -> Doubles:
        """(C, C): of the maxima around their shift, summed over photos."""
        return self._products.total


def _joined(before: Ranks | None, new: Ranks, keep: int, *, largest: bool) -> Ranks:
    return merge([new], keep, largest=largest) if before is None else take_in(before, new, keep, largest=largest)


def total(parts: Iterable[Part], channels: Mapping[str, int], keep: int) -> dict[str, LayerTotals]:
    """All of these parts together. They come in order, each once.

    Layers have nothing to do with each other: each part is added to several at once, while the next one is read.
    """
    totals = {name: LayerTotals(count, keep) for name, count in channels.items()}
    with ThreadPoolExecutor(min(len(totals), os.cpu_count() or 1) or 1) as pool:
        adding: list[Future[None]] = []
        for part in parts:
            for one in adding:
                one.result()
            adding = [pool.submit(totals[name].add, layer) for name, layer in part.layers.items()]
        for one in adding:
            one.result()
    return totals


@dataclass(frozen=True, eq=False)
class LabelShares:
    """For each label, of its photos the share that each unit answers to. shares: (labels, C). photos: (labels,)."""

    labels: tuple[str, ...]
    photos: Counts
    shares: Doubles


def label_shares(
    parts: Iterable[Part], labels: Sequence[str | None], totals: dict[str, LayerTotals]
) -> dict[str, LabelShares]:
    """A second walk through the parts, once it is known above which maximum a unit answers: see ANSWERS."""
    names = tuple(sorted({label for label in labels if label is not None}))
    number = {name: at for at, name in enumerate(names)}
    over = {name: _above(layer) for name, layer in totals.items()}
    answered = {name: np.zeros((len(names), layer.channels), np.int64) for name, layer in totals.items()}
    photos = np.zeros(len(names), np.int64)
    for part in parts:
        of = np.array([number.get(labels[one.photo] or "", -1) for one in part.seen if one.error is None], np.int64)
        np.add.at(photos, of[of >= 0], 1)
        for name, layer in part.layers.items():
            answers = bins.codes(np.ascontiguousarray(layer.maxima)) > over[name]
            np.add.at(answered[name], of[of >= 0], answers[of >= 0])
    return {
        name: LabelShares(names, photos, counts / np.maximum(photos, 1)[:, None]) for name, counts in answered.items()
    }


def _above(layer: LayerTotals) -> npt.NDArray[np.int64]:
    """(C,): the bin of the quantile ANSWERS of each channel's maxima."""
    reached = layer.highest.cumsum(1)
    needed = np.ceil(ANSWERS * reached[:, -1:]).clip(1)
    return np.asarray((reached < needed).sum(1))
