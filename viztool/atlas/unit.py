"""What is known of one unit over all photos of an atlas, and of a layer's: read out of the tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from viztool.atlas import bins, tables
from viztool.errors import LayerError, SettingError
from viztool.render.numbers import counted, number

Place = tuple[str, float, tuple[int, int], tuple[float, float, float, float]]
"""A photo's id, the unit's value, its (row, column) in the map, and (top, left, bottom, right) in the photo."""


OVERLAPS = (4, 8, 16)
"""Photos at the head of both lists that are compared."""


@dataclass(frozen=True)
class Histogram:
    """Exact counts in fixed bins. edges: (n + 1,), rising. counts: (n,). Empty bins at either end are left out."""

    edges: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]


class Unit:
    """A channel of a layer over all photos of the atlas."""

    def __init__(self, layer: Layer, channel: int) -> None:
        self.layer, self.channel = layer.name, channel
        self._of = layer

    def __repr__(self) -> str:
        best = f"; most in {self.top[0][0]}" if self.top else ""
        numbers = f"maximum {number(self.maximum, '.3g')}, mean {number(self.mean, '.3g')} ± {number(self.sd, '.2g')}"
        return f"Unit({self.layer}/{self.channel}: {numbers}{best})"

    @property
    def top(self) -> list[Place]:
        """Where it answers most, one place a photo, best first; of equal values the photo with the lower id."""
        return self._of.places("top", self.channel)

    @property
    def least(self) -> list[Place]:
        """Where its value is smallest, one place a photo, the smallest first."""
        return self._of.places("least", self.channel)

    @property
    def relevant(self) -> list[Place]:
        """Where it matters most for the class that the network says, one place a photo, the most relevant first.

        The value is the relevance by LRP-z⁺, a part of that class's score (RelMax, Achtibat et al. 2023). Photos on
        which it is 0 are left out: there are `irrelevant` of these. There are none where the atlas was built without
        relevance.
        """
        return [place for place in self._of.places("relevant", self.channel) if place[1] != 0]

    @property
    def relevance_known(self) -> bool:
        """Whether the atlas was built with relevance."""
        return bool(self._of.places("relevant", self.channel))

    @property
    def irrelevant(self) -> int:
        """How many photos that the atlas keeps for their relevance have none."""
        return len(self._of.places("relevant", self.channel)) - len(self.relevant)

    def overlap(self, count: int) -> float:
        """Of the first so many photos by activation, the share that is among as many by relevance.

        Low: it fires where it does not matter. NaN where the atlas was built without relevance.
        """
        top, relevant = ({place[0] for place in places[:count]} for places in (self.top, self.relevant))
        return len(top & relevant) / len(top) if self.relevance_known else float("nan")

    @property
    def mean(self) -> float:
        """Of the spatial maximum of each photo."""
        return self._number("maximum_mean")

    @property
    def sd(self) -> float:
        """Of the spatial maximum of each photo, over all photos (divided by their number)."""
        return self._number("maximum_sd")

    @property
    def maximum(self) -> float:
        """The largest value anywhere."""
        return self._number("maximum_high")

    @property
    def active(self) -> float:
        """The share of photos whose spatial maximum is above 0."""
        return self._number("active")

    def quantile(self, share: float) -> float:
        """The value that this share of all positions of all photos does not exceed: right to 0.78 %, see `bins`.

        Raises SettingError unless it is from 0 to 1.
        """
        if not 0 <= share <= 1:
            raise SettingError(f"a quantile is of a share from 0 to 1, not of {share}")
        return bins.quantile(self._of.counts("position")[self.channel], share)

    @property
    def histogram(self) -> Histogram:
        """Of the values at all positions of all photos."""
        return _histogram(self._of.counts("position")[self.channel])

    @property
    def maxima(self) -> Histogram:
        """Of the spatial maxima, one a photo."""
        return _histogram(self._of.counts("maximum")[self.channel])

    def counts(self, kind: str) -> npt.NDArray[np.int64]:
        """(bins,): how many of its values fall into each bin; "position": at all positions, "maximum": one a photo."""
        counts: npt.NDArray[np.int64] = self._of.counts(kind)[self.channel]
        return counts

    @property
    def alike(self) -> list[tuple[int, float]]:
        """(channel, correlation): units of its layer whose maxima go with its own over photos, most alike first."""
        return self._of.alike(self.channel)

    @property
    def labels(self) -> list[tuple[str, float]]:
        """(label, share): of the label's photos, the share whose maximum is above the unit's 95 % quantile.

        The labels that it answers to most come first; none where the photos have no labels.
        """
        return self._of.labels(self.channel)

    @property
    def numbers(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "layer": self.layer,
            "channel": self.channel,
            "mean": self.mean,
            "sd": self.sd,
            "maximum": self.maximum,
            "active": self.active,
            "quantiles": {str(share): self.quantile(share) for share in (0.5, 0.9, 0.99, 0.999)},
            "top": [_place_numbers(place) for place in self.top],
            "least": [_place_numbers(place) for place in self.least],
            **self._relevance_numbers(),
            "alike": [{"channel": channel, "correlation": value} for channel, value in self.alike],
            "labels": [{"label": label, "share": share} for label, share in self.labels],
        }

    def _relevance_numbers(self) -> dict[str, Any]:
        if not self.relevance_known:
            return {}
        return {
            "relevant": [_place_numbers(place) for place in self.relevant],
            "irrelevant": self.irrelevant,
            "overlap": {str(count): self.overlap(count) for count in OVERLAPS if count <= len(self.top)},
        }

    def _number(self, column: str) -> float:
        return float(self._of.unit_numbers[column][self.channel])


class Rows(Protocol):
    """Where what is known of units is read: an atlas."""

    @property
    def photos(self) -> int:
        """How many were looked at."""

    @property
    def ids(self) -> list[str]:
        """Of all photos, by their number."""

    def rows(self, table: str, layer: str) -> pa.Table:
        """Those of one layer in a table."""


class Layer:
    """The units of a layer: `layer[15]`, `len(layer)`, or one after another."""

    def __init__(self, atlas: Rows, name: str, channels: int) -> None:
        self.name = name
        self._atlas = atlas
        self._channels = channels

    def __len__(self) -> int:
        return self._channels

    def __iter__(self) -> Iterator[Unit]:
        return (self[channel] for channel in range(self._channels))

    def __getitem__(self, channel: int) -> Unit:
        if not -self._channels <= channel < self._channels:
            raise LayerError(f"layer {self.name!r} has {self._channels} channels; there is no {channel}")
        return Unit(self, int(channel) % self._channels)

    def __repr__(self) -> str:
        return f"Layer({self.name}: {counted(self._channels, 'channels')} over {counted(self._atlas.photos, 'photos')})"

    @cached_property
    def unit_numbers(self) -> dict[str, npt.NDArray[np.float64]]:
        """By column of the units' table, (C,)."""
        table = self._atlas.rows(tables.UNITS, self.name)
        return {name: table[name].to_numpy() for name in table.column_names if name != "layer"}

    def counts(self, kind: str) -> npt.NDArray[np.int64]:
        """(C, bins): how many values of this kind ("position", "maximum") fall into each bin."""
        if kind not in self._counts:
            table = self._atlas.rows(tables.HISTOGRAMS, self.name)
            whole = np.zeros((self._channels, bins.COUNT), np.int64)
            places, counts = (table[f"{kind}_{what}"].combine_chunks() for what in ("bins", "counts"))
            channel = np.repeat(
                table["channel"].to_numpy(), pc.list_value_length(places).to_numpy(zero_copy_only=False)
            )
            whole[channel, places.flatten().to_numpy()] = counts.flatten().to_numpy()
            self._counts[kind] = whole
        return self._counts[kind]

    def places(self, kind: str, channel: int) -> list[Place]:
        """The places of a unit, best first. kind: "top", "least" or "relevant"."""
        rows = self._places.get((kind, channel), [])
        ids = self._atlas.ids
        return [
            (
                ids[row["photo"]],
                row["value"],
                (row["row"], row["column"]),
                (row["top"], row["left"], row["bottom"], row["right"]),
            )
            for row in rows
        ]

    def alike(self, channel: int) -> list[tuple[int, float]]:
        return self._alike.get(channel, [])

    def labels(self, channel: int) -> list[tuple[str, float]]:
        return self._labels.get(channel, [])

    @cached_property
    def _counts(self) -> dict[str, npt.NDArray[np.int64]]:
        return {}

    @cached_property
    def _places(self) -> dict[tuple[str, int], list[dict[str, Any]]]:
        found: dict[tuple[str, int], list[dict[str, Any]]] = {}
        for row in self._atlas.rows(tables.PLACES, self.name).to_pylist():
            found.setdefault((row["kind"], row["channel"]), []).append(row)
        return found

    @cached_property
    def _alike(self) -> dict[int, list[tuple[int, float]]]:
        found: dict[int, list[tuple[int, float]]] = {}
        for row in self._atlas.rows(tables.ALIKES, self.name).to_pylist():
            found.setdefault(row["channel"], []).append((row["other"], row["correlation"]))
        return found

    @cached_property
    def _labels(self) -> dict[int, list[tuple[str, float]]]:
        found: dict[int, list[tuple[str, float]]] = {}
        for row in self._atlas.rows(tables.SHARES, self.name).to_pylist():
            found.setdefault(row["channel"], []).append((row["label"], row["share"]))
        return found


def _histogram(counts: npt.NDArray[np.int64]) -> Histogram:
    filled = np.flatnonzero(counts)
    if not len(filled):
        return Histogram(np.zeros(1), np.zeros(0, np.int64))
    first, end = int(filled[0]), int(filled[-1]) + 1
    return Histogram(bins.edges()[first : end + 1], counts[first:end])


def _place_numbers(place: Place) -> dict[str, Any]:
    photo, value, (row, column), box = place
    return {"photo": photo, "value": value, "row": row, "column": column, "box": list(box)}
