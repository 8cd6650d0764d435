"""Read an atlas: what every unit of a network does over a data set. Needs neither the network nor torch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from viztool.atlas import bins, tables
from viztool.atlas.field import Axes, from_numbers
from viztool.atlas.merge import LayerTotals, total
from viztool.atlas.part import Seen, read_part
from viztool.atlas.ranges import part_file, ranges
from viztool.errors import LayerError, ViztoolError
from viztool.render.numbers import number

if TYPE_CHECKING:
    from torch import nn

    from viztool.models.model import Model
    from viztool.render.colormaps import Picture

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

        The value is the relevance by LRP-z⁺, a part of that class's score (RelMax, Achtibat et al. 2023). There are
        none where the atlas was built without relevance.
        """
        return self._of.places("relevant", self.channel)

    def overlap(self, count: int) -> float:
        """Of the first so many photos by activation, the share that is among as many by relevance.

        Low: it fires where it does not matter. NaN where the atlas was built without relevance.
        """
        top, relevant = ({place[0] for place in places[:count]} for places in (self.top, self.relevant))
        return len(top & relevant) / len(top) if relevant else float("nan")

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
        """The value that this share of all positions of all photos does not exceed: right to 0.78 %, see `bins`."""
        return bins.quantile(self._of.counts("position")[self.channel], share)

    @property
    def histogram(self) -> Histogram:
        """Of the values at all positions of all photos."""
        return _histogram(self._of.counts("position")[self.channel])

    @property
    def maxima(self) -> Histogram:
        """Of the spatial maxima, one a photo."""
        return _histogram(self._of.counts("maximum")[self.channel])

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
        if not self.relevant:
            return {}
        return {
            "relevant": [_place_numbers(place) for place in self.relevant],
            "overlap": {str(count): self.overlap(count) for count in OVERLAPS if count <= len(self.top)},
        }

    def _number(self, column: str) -> float:
        return float(self._of.unit_numbers[column][self.channel])


class Layer:
    """The units of a layer: `layer[15]`, `len(layer)`, or one after another."""

    def __init__(self, atlas: Atlas, name: str, channels: int) -> None:
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
        return f"Layer({self.name}: {self._channels} channels over {self._atlas.photos} photos)"

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


class Atlas:
    """What every unit of some layers does over a data set; see `build_atlas`.

    >>> atlas = viztool.open_atlas("lite0.atlas")  # doctest: +SKIP
    >>> atlas["blocks.4"][15].top[0]  # doctest: +SKIP

    folder: where it is. about: with which network, layers and photos it was made, as in `about.json`.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any], held: Mapping[str, pa.Table] | None = None) -> None:
        self.folder = folder
        self.about = about
        self._held = dict(held or {})

    def __repr__(self) -> str:
        return f"Atlas({self.about['fingerprint']['network']}: {self.in_words})"

    @property
    def in_words(self) -> str:
        """A line."""
        failed = f"; {len(self.failed)} could not be looked at" if self.failed else ""
        layers = "1 layer" if len(self.layers) == 1 else f"{len(self.layers)} layers"
        return f"{sum(self.layers.values()):,} units of {layers} over {self.photos:,} photos{failed}"

    @property
    def numbers(self) -> dict[str, Any]:
        """What it is of, ready for JSON."""
        return {
            "photos": self.photos,
            "layers": self.layers,
            "failed": [{"photo": name, "reason": reason} for name, reason in self.failed],
            "source": self.about["source"]["name"],
            "fingerprint": self.about["fingerprint"],
        }

    def __getitem__(self, layer: str) -> Layer:
        if layer not in self.layers:
            raise LayerError(f"the atlas has no layer {layer!r}; it has {', '.join(self.layers)}")
        return self._layers[layer]

    @property
    def layers(self) -> dict[str, int]:
        """The channels of each layer, in the order in which they run."""
        return dict(self.about["fingerprint"]["layers"])

    @cached_property
    def photos(self) -> int:
        """How many were looked at."""
        return int(self._photo_rows["error"].null_count)

    @cached_property
    def failed(self) -> list[tuple[str, str]]:
        """(id, reason) of each that could not be looked at."""
        rows = self._photo_rows.filter(pc.is_valid(self._photo_rows["error"]))
        return list(zip(rows["id"].to_pylist(), rows["error"].to_pylist(), strict=True))

    @cached_property
    def ids(self) -> list[str]:
        """The ids of all photos of the manifest, by their number."""
        return list(self._photo_rows["id"].to_pylist())

    def field(self, layer: str) -> Axes:
        """What the units of a layer see of the input, along its axes; None where that is not known."""
        return from_numbers(self.about["fields"][layer])

    def maxima(self, layer: str) -> npt.NDArray[np.float32]:
        """(n, C): the spatial maxima of a layer on each photo that was looked at, in the order of their ids."""
        parts = [read_part(part_file(self.folder, bounds)) for bounds in ranges(len(self.ids))]
        found = [part.layers[layer].maxima for part in parts if part is not None]
        return np.concatenate([np.zeros((0, self.layers[layer]), np.float32), *found])

    def unusual(self, model: Model | nn.Module, photo: Picture, count: int = 20) -> list[tuple[str, int, float, float]]:
        """The units that answer to this photo as to few others: (layer, channel, value, share above), rarest first.

        model: the one that the atlas is of. value: the spatial maximum. share above: of the atlas's photos, those whose
        maximum is in a higher bin (see `bins`); of equal shares that one comes first whose bin fewer photos reach, then
        that whose value is more standard deviations above its mean. Raises ViztoolError if the model has other weights.
        """
        from viztool.atlas.unusual import unusual

        return [one.row for one in unusual(self, model, photo, count)]

    def rows(self, table: str, layer: str) -> pa.Table:
        """The rows of one layer in a table; none if there is no such table."""
        if table in self._held:
            whole = self._held[table]
            return whole.filter(pc.equal(whole["layer"], layer))
        file = self.folder / table
        if not file.exists():
            return pa.table({"channel": pa.array([], pa.int32())})
        return pq.read_table(file, filters=[("layer", "=", layer)])

    @cached_property
    def _layers(self) -> dict[str, Layer]:
        return {name: Layer(self, name, channels) for name, channels in self.layers.items()}

    @cached_property
    def _photo_rows(self) -> pa.Table:
        held = self._held.get(tables.PHOTOS)
        return pq.read_table(self.folder / tables.PHOTOS) if held is None else held


def open_atlas(folder: str | os.PathLike[str]) -> Atlas:
    """The atlas in a folder; of one that is still being built, what is finished by now.

    Raises ViztoolError if there is none.
    """
    place = Path(folder)
    about = tables.read_json(place / "atlas.json")
    if about is not None:
        return Atlas(place, about)
    about = tables.read_json(place / "about.json")
    if about is None:
        raise ViztoolError(f"{place} holds no atlas; viztool atlas build makes one")
    return Atlas(place, about, _so_far(place, about))


def _so_far(place: Path, about: Mapping[str, Any]) -> dict[str, pa.Table]:
    """The tables of what is finished."""
    parts = (read_part(file) for file in sorted((place / "parts").glob("*.part")))
    seen: dict[int, Seen] = {}

    def whole() -> Iterator[Any]:
        for part in parts:
            if part is not None:
                seen.update({one.photo: one for one in part.seen})
                yield part

    told = about["fingerprint"]
    totals: dict[str, LayerTotals] = total(whole(), told["layers"], told["keep"])
    manifest = pq.read_table(place / "manifest.parquet")
    fields = {name: from_numbers(numbers) for name, numbers in about["fields"].items()}
    return {
        tables.PHOTOS: tables.photo_table(manifest["id"].to_pylist(), manifest["label"].to_pylist(), seen),
        tables.UNITS: tables.unit_table(totals),
        tables.PLACES: tables.place_table(totals, fields, seen),
        tables.HISTOGRAMS: tables.histogram_table(totals),
        tables.ALIKES: tables.alike_table(totals),
    }


def _histogram(counts: npt.NDArray[np.int64]) -> Histogram:
    filled = np.flatnonzero(counts)
    if not len(filled):
        return Histogram(np.zeros(1), np.zeros(0, np.int64))
    first, end = int(filled[0]), int(filled[-1]) + 1
    return Histogram(bins.edges()[first : end + 1], counts[first:end])


def _place_numbers(place: Place) -> dict[str, Any]:
    photo, value, (row, column), box = place
    return {"photo": photo, "value": value, "row": row, "column": column, "box": list(box)}
