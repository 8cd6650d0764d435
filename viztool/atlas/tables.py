"""The tables of an atlas, Parquet: written whole by who builds it, read by anyone, without torch."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from viztool.atlas import bins
from viztool.atlas.field import Axes, field_box, in_photo
from viztool.atlas.merge import LabelShares, LayerTotals
from viztool.atlas.part import Seen
from viztool.atlas.ranks import Ranks
from viztool.errors import ViztoolError
from viztool.images import atomic_write

ALIKE = 16
"""Units that are kept for each as those that go with it."""

LABELS = 8
"""Labels that are kept for each unit, those that it answers to most."""

PHOTOS, UNITS, PLACES, HISTOGRAMS, ALIKES, SHARES = (
    f"{name}.parquet" for name in ("photos", "units", "places", "histograms", "alike", "labels")
)
MANIFEST, ABOUT, ATLAS = "manifest.parquet", "about.json", "atlas.json"
"""Which photo has which number; what it is made with, from the beginning, and the same with the tables at the end."""


def photo_table(ids: Sequence[str], labels: Sequence[str | None], seen: Mapping[int, Seen]) -> pa.Table:
    """One row a photo of the manifest: what it is called, what it holds, and why it could not be looked at."""
    rows = [seen.get(number) for number in range(len(ids))]
    return pa.table(
        {
            "photo": pa.array(range(len(ids)), pa.int32()),
            "id": pa.array(ids, pa.string()),
            "sha256": pa.array([None if one is None else one.digest or None for one in rows], pa.string()),
            "label": pa.array(labels, pa.string()),
            "height": pa.array(
                [None if one is None or one.extent is None else one.extent[0] for one in rows], pa.int32()
            ),
            "width": pa.array(
                [None if one is None or one.extent is None else one.extent[1] for one in rows], pa.int32()
            ),
            "error": pa.array(["not looked at yet" if one is None else one.error for one in rows], pa.string()),
        }
    )


def unit_table(totals: Mapping[str, LayerTotals]) -> pa.Table:
    """One row a unit: count, mean, sd and extremes over photos of its spatial maximum, and of its spatial mean."""
    tables = []
    for name, layer in totals.items():
        none = np.full(layer.channels, np.nan)
        told: dict[str, Any] = {
            "layer": [name] * layer.channels,
            "channel": np.arange(layer.channels, dtype=np.int32),
            "photos": np.full(layer.channels, layer.maxima.count, np.int64),
            "active": layer.active / max(1, layer.maxima.count),
        }
        for kind, moments in (("maximum", layer.maxima), ("mean", layer.means)):
            told |= {
                f"{kind}_mean": moments.mean,
                f"{kind}_sd": moments.sd,
                f"{kind}_low": moments.low if moments.count else none,
                f"{kind}_high": moments.high if moments.count else none,
            }
        tables.append(pa.table(told))
    return pa.concat_tables(tables)


def place_table(totals: Mapping[str, LayerTotals], fields: Mapping[str, Axes], seen: Mapping[int, Seen]) -> pa.Table:
    """One row a place that a unit answers to most ("top") or least ("least"): photo, value, place, box in the photo.

    And one a place where it is most relevant ("relevant"), where that is known; the value is then the relevance.
    """
    tables = []
    for name, layer in totals.items():
        for kind, ranks in (("top", layer.top), ("least", layer.least), ("relevant", layer.relevant)):
            if ranks is not None:
                tables.append(_places(name, kind, ranks, fields.get(name), seen))
    return pa.concat_tables(tables)


def _places(name: str, kind: str, ranks: Ranks, axes: Axes, seen: Mapping[int, Seen]) -> pa.Table:
    channel, rank = np.nonzero(ranks.photo >= 0)
    photo, row, column = (array[channel, rank] for array in (ranks.photo, ranks.row, ranks.column))
    known: dict[tuple[int, int, int], tuple[float, ...]] = {}
    boxes = np.empty((len(photo), 4))
    for at, key in enumerate(zip(photo.tolist(), row.tolist(), column.tolist(), strict=True)):
        if key not in known:
            known[key] = _box(axes, key[1:], seen[key[0]])
        boxes[at] = known[key]
    return pa.table(
        {
            "layer": [name] * len(photo),
            "channel": channel.astype(np.int32),
            "kind": [kind] * len(photo),
            "rank": rank.astype(np.int16),
            "photo": photo,
            "value": ranks.value[channel, rank],
            "row": row,
            "column": column,
            **{side: np.ascontiguousarray(boxes[:, at]) for at, side in enumerate(("top", "left", "bottom", "right"))},
        }
    )


def _box(axes: Axes, place: tuple[int, int], one: Seen) -> tuple[float, ...]:
    if one.size is None or one.box is None or one.extent is None:
        return (0.0, 0.0, 0.0, 0.0)
    return in_photo(field_box(axes, place, one.size), one.size, one.box, one.extent)


def histogram_table(totals: Mapping[str, LayerTotals]) -> pa.Table:
    """One row a unit: the bins that are not empty, and their counts, of all positions and of the photos' maxima."""
    told: dict[str, list[Any]] = {"layer": [], "channel": []}
    lists: dict[str, list[np.ndarray[Any, Any]]] = {
        f"{kind}_{what}": [] for kind in _KINDS for what in ("bins", "counts")
    }
    for name, layer in totals.items():
        for channel in range(layer.channels):
            told["layer"].append(name)
            told["channel"].append(channel)
            for kind, counts in (("position", layer.positions[channel]), ("maximum", layer.highest[channel])):
                at = np.flatnonzero(counts)
                lists[f"{kind}_bins"].append(at.astype(np.uint16))
                lists[f"{kind}_counts"].append(counts[at])
    columns: dict[str, Any] = {"layer": pa.array(told["layer"]), "channel": pa.array(told["channel"], pa.int32())}
    for key, arrays in lists.items():
        columns[key] = pa.array(arrays, pa.list_(pa.uint16() if key.endswith("bins") else pa.int64()))
    return pa.table(columns)


_KINDS = ("position", "maximum")


def alike_table(totals: Mapping[str, LayerTotals]) -> pa.Table:
    """For each unit those of its layer whose maxima go with its own over photos, the most alike first."""
    tables = []
    for name, layer in totals.items():
        correlation = layer.maxima.correlation(layer.products)
        np.fill_diagonal(correlation, np.nan)
        order = np.argsort(-correlation, axis=1, kind="stable")[:, :ALIKE]  # NaN comes last
        found = np.take_along_axis(correlation, order, 1)
        channel, rank = np.nonzero(~np.isnan(found))
        tables.append(
            pa.table(
                {
                    "layer": [name] * len(channel),
                    "channel": channel.astype(np.int32),
                    "rank": rank.astype(np.int16),
                    "other": order[channel, rank].astype(np.int32),
                    "correlation": found[channel, rank],
                }
            )
        )
    return pa.concat_tables(tables)


def share_table(shares: Mapping[str, LabelShares]) -> pa.Table:
    """For each unit the labels that it answers to most: of their photos, the share that it answers to."""
    tables = []
    for name, found in shares.items():
        order = np.argsort(-found.shares, axis=0, kind="stable")[:LABELS]
        ranks, channels = order.shape
        labels = np.array(found.labels, object)
        tables.append(
            pa.table(
                {
                    "layer": [name] * order.size,
                    "channel": np.repeat(np.arange(channels, dtype=np.int32), ranks),
                    "rank": np.tile(np.arange(ranks, dtype=np.int16), channels),
                    "label": pa.array(labels[order.T.reshape(-1)].tolist(), pa.string()),
                    "photos": found.photos[order.T.reshape(-1)],
                    "share": np.take_along_axis(found.shares, order, 0).T.reshape(-1),
                }
            )
        )
    return pa.concat_tables(tables)


def write_table(folder: Path, name: str, table: pa.Table) -> str:
    """Write it whole or not at all. Returns the sha256 of the file."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", row_group_size=1 << 16)
    return write_bytes(folder / name, buffer.getvalue())


def write_json(path: Path, told: Mapping[str, Any]) -> None:
    """Write it whole or not at all."""
    write_bytes(path, (json.dumps(told, indent=1, ensure_ascii=False) + "\n").encode())


def write_bytes(path: Path, content: bytes) -> str:
    """Write them whole or not at all, and make sure that they are on the disk. Returns their sha256."""
    with atomic_write(path) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return hashlib.sha256(content).hexdigest()


def read_table(folder: Path, name: str, **options: Any) -> pa.Table:
    """What `write_table` wrote, with the options of `pyarrow.parquet.read_table`.

    Raises ViztoolError if it cannot be read.
    """
    file = folder / name
    try:
        return pq.read_table(file, **options)
    except FileNotFoundError as error:
        raise ViztoolError(f"{file} is missing; the same build command mends it") from error
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.strerror:
            raise ViztoolError(f"cannot read {file}: {error.strerror}") from error
        raise ViztoolError(f"{file} is damaged; the same build command mends it") from error


def is_as_written(file: Path, digest: str) -> bool:
    """Whether it is there, with this sha256."""
    return file.exists() and hashlib.sha256(file.read_bytes()).hexdigest() == digest


def quantile_of(bin_numbers: Sequence[int], counts: Sequence[int], share: float) -> float:
    """As `bins.quantile`, of a histogram as it stands in the table."""
    whole = np.zeros(bins.COUNT, np.int64)
    whole[np.asarray(bin_numbers, np.int64)] = counts
    return bins.quantile(whole, share)


def read_json(path: Path) -> dict[str, Any] | None:
    """What `write_json` wrote; None if it is not there, or not whole."""
    try:
        told: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return told


def is_damaged(file: Path) -> bool:
    """Whether a file of JSON is there, but not whole."""
    return file.exists() and read_json(file) is None


def read_about(folder: Path) -> dict[str, Any] | None:
    """With what the atlas in a folder was made; None if it holds none, or none that can be read."""
    told = read_json(folder / ABOUT)
    return read_json(folder / ATLAS) if told is None else told
