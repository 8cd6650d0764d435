"""From parts to what is known of every unit over all photos, in memory that does not grow with them.

Parts are taken in the order of their ranges, each once, so that sums of floats are the same whoever made the parts.
Counts are whole numbers, and of places the best are kept with ties settled.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from viztool.atlas import bins
from viztool.atlas.part import LayerPart, Part
from viztool.atlas.ranks import Ranks, merge, take_in

Doubles = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

ANSWERS = 0.95
"""A photo is one that a unit answers to if its maximum is above this quantile of all photos' maxima."""


@dataclass
class Moments:
    """Count, mean, sum of squares and extremes of a quantity per channel, (C,) each; sums around the first mean."""

    channels: int
    count: int = 0
    _shift: Doubles | None = None
    _sum: Doubles = field(init=False)
    _squares: Doubles = field(init=False)
    low: Doubles = field(init=False)
    high: Doubles = field(init=False)

    def __post_init__(self) -> None:
        self._sum, self._squares = np.zeros(self.channels), np.zeros(self.channels)
        self.low, self.high = np.full(self.channels, np.inf), np.full(self.channels, -np.inf)

    def add(self, values: npt.NDArray[np.float32]) -> Doubles | None:
        """values: (n, C). Returns them around the shift, in float64; None of no values."""
        if not len(values):
            return None
        exact = values.astype(np.float64)
        if self._shift is None:
            self._shift = exact.mean(0)
        exact -= self._shift
        self.count += len(values)
        self._sum += exact.sum(0)
        self._squares += (exact**2).sum(0)
        np.minimum(self.low, values.min(0), out=self.low)
        np.maximum(self.high, values.max(0), out=self.high)
        return exact

    @property
    def mean(self) -> Doubles:
        if self._shift is None:
            return np.full(self.channels, np.nan)
        return np.asarray(self._shift + self._sum / self.count)

    @property
    def sd(self) -> Doubles:
        """Over all photos: divided by their number."""
        if not self.count:
            return np.full(self.channels, np.nan)
        return np.asarray(np.sqrt(np.maximum(self._squares / self.count - (self._sum / self.count) ** 2, 0)))

    def correlation(self, products: Doubles) -> Doubles:
        """(C, C), from the summed products of what `add` gave: NaN where one of the two never changes."""
        if not self.count:
            return np.full((self.channels, self.channels), np.nan)
        mean = self._sum / self.count
        covariance = products / self.count - mean[:, None] * mean
        sd = np.where(self.sd > _STILL * np.maximum(np.abs(self.high), np.abs(self.low)), self.sd, np.nan)
        return np.asarray(np.clip(covariance / (sd[:, None] * sd), -1, 1))


_ROWS = 1024
"""Photos whose answers are multiplied at once: adding a matrix of units by units costs as much as a hundred of them."""

_STILL = 1e-6
"""A unit whose sd is a smaller share of its largest value changes by rounding only: it goes with none."""


@dataclass
class Sums:
    """The same of a quantity of which parts tell only sums."""

    channels: int
    count: int = 0
    _sum: Doubles = field(init=False)
    _squares: Doubles = field(init=False)
    low: Doubles = field(init=False)
    high: Doubles = field(init=False)

    def __post_init__(self) -> None:
        self._sum, self._squares = np.zeros(self.channels), np.zeros(self.channels)
        self.low, self.high = np.full(self.channels, np.inf), np.full(self.channels, -np.inf)

    def add(self, count: int, sums: Doubles) -> None:
        """count: photos. sums: as `LayerPart.means`."""
        self.count += count
        self._sum += sums[0]
        self._squares += sums[1]
        np.minimum(self.low, sums[2], out=self.low)
        np.maximum(self.high, sums[3], out=self.high)

    @property
    def mean(self) -> Doubles:
        return self._sum / self.count if self.count else np.full(self.channels, np.nan)

    @property
    def sd(self) -> Doubles:
        """Over all photos: divided by their number."""
        if not self.count:
            return np.full(self.channels, np.nan)
        return np.asarray(np.sqrt(np.maximum(self._squares / self.count - self.mean**2, 0)))


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
    positions: Counts = field(init=False)
    highest: Counts = field(init=False)
    _products: Doubles = field(init=False)
    _waiting: list[Doubles] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.maxima, self.means = Moments(self.channels), Sums(self.channels)
        self.active = np.zeros(self.channels, np.int64)
        self.positions = np.zeros((self.channels, bins.COUNT), np.int64)
        self.highest = np.zeros((self.channels, bins.COUNT), np.int64)
        self._products = np.zeros((self.channels, self.channels))

    def add(self, part: LayerPart) -> None:
        """Parts come in the order of their ranges."""
        self.top = _joined(self.top, part.top, self.keep, largest=True)
        self.least = _joined(self.least, part.least, self.keep, largest=False)
        if part.relevant is not None:
            self.relevant = _joined(self.relevant, part.relevant, self.keep, largest=True)
        shifted = self.maxima.add(part.maxima)
        self.means.add(len(part.maxima), part.means)
        if shifted is not None:
            self._waiting.append(shifted)
            if sum(map(len, self._waiting)) >= _ROWS:
                self._multiply()
        self.active += (part.maxima > 0).sum(0)
        begins = np.arange(self.channels) * bins.COUNT
        at = np.repeat(begins, np.diff(part.rows)) + part.bins
        np.add.at(self.positions.reshape(-1), at, part.counts.astype(np.int64))  # of one type it is twice as fast
        codes = bins.codes(np.ascontiguousarray(part.maxima))
        np.add.at(self.highest.reshape(-1), (codes + begins).reshape(-1), 1)

    @property
    def products(self) -> Doubles:
        """(C, C): of the maxima around their shift, summed over photos."""
        self._multiply()
        return self._products

    def _multiply(self) -> None:
        if self._waiting:
            rows = np.concatenate(self._waiting)
            self._products += rows.T @ rows
            self._waiting = []


def _joined(before: Ranks | None, new: Ranks, keep: int, *, largest: bool) -> Ranks:
    return merge([new], keep, largest=largest) if before is None else take_in(before, new, keep, largest=largest)


def total(parts: Iterable[Part], channels: dict[str, int], keep: int) -> dict[str, LayerTotals]:
    """All of these parts together, layer by layer. They come in order, each once."""
    totals = {name: LayerTotals(count, keep) for name, count in channels.items()}
    for part in parts:
        for name, layer in part.layers.items():
            totals[name].add(layer)
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
