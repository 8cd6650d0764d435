"""Count, mean, sd and extremes of what is added part by part, per channel."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

_ROWS = 1024
"""Photos whose answers are multiplied at once: adding a matrix of units by units costs as much as a hundred of them."""

_STILL = 1e-6
"""A unit whose sd is a smaller share of its largest value changes by rounding only: it goes with none."""


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
class Products:
    """(C, C): of quantities of C channels the products of each two, summed over photos in the order of the parts."""

    channels: int
    _sum: Doubles = field(init=False)
    _waiting: list[Doubles] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._sum = np.zeros((self.channels, self.channels))

    def add(self, rows: Doubles) -> None:
        """rows: (n, C)."""
        self._waiting.append(rows)
        if sum(map(len, self._waiting)) >= _ROWS:
            self._multiply()

    @property
    def total(self) -> Doubles:
        """(C, C)."""
        self._multiply()
        return self._sum

    def _multiply(self) -> None:
        if self._waiting:
            rows = np.concatenate(self._waiting)
            self._sum += rows.T @ rows
            self._waiting = []
