"""The crops of all places, small, in the atlas itself: they can be shown where the photos are not."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from viztool.atlas import tables
from viztool.atlas.field import Box
from viztool.atlas.sources import Entry, Source
from viztool.errors import ViztoolError
from viztool.images.bytes import decode
from viztool.render.colormaps import Picture

SIDE = 128
"""Pixels of the longer side."""

_QUALITY = 85
_SHARD = 65_536
"""Crops in one file."""


def first_shard() -> str:
    """The file that is there if there are any."""
    return _name(0)


def write_thumbnails(folder: Path, places: pa.Table, source: Source, entries: Sequence[Entry]) -> dict[str, str]:
    """Cut every place of the table, photo by photo, so that each is read once. Returns the sha256 of each file."""
    digests = {}
    order = pc.sort_indices(places, [(name, "ascending") for name in ("photo", "layer", "channel", "kind", "rank")])
    ordered = places.take(order)
    number, photo, made = -1, None, dict[Box, bytes]()
    for shard, start in enumerate(range(0, max(1, len(ordered)), _SHARD)):
        part = ordered.slice(start, _SHARD)
        pictures = []
        for row in part.select(["photo", "top", "left", "bottom", "right"]).to_pylist():
            if row["photo"] != number:
                number, made = row["photo"], {}
                photo = _read(source, entries[number])
            box: Box = (row["top"], row["left"], row["bottom"], row["right"])
            if photo is not None and box not in made:
                made[box] = _jpeg(cut(photo, box))  # units at one place of a layer see the same
            pictures.append(made.get(box))
        table = part.select(["layer", "channel", "kind", "rank"]).append_column("jpeg", pa.array(pictures, pa.binary()))
        digests[_name(shard)] = tables.write_table(folder, _name(shard), table)
    return digests


def read_thumbnails(folder: Path, layer: str) -> dict[tuple[int, str, int], bytes]:
    """By channel, kind and rank: the JPEG of a layer's crops; none if they were not kept."""
    found = {}
    for file in sorted(folder.glob("thumbnails-*.parquet")):
        for row in tables.read_table(folder, file.name, filters=[("layer", "=", layer)]).to_pylist():
            if row["jpeg"] is not None:
                found[row["channel"], row["kind"], row["rank"]] = row["jpeg"]
    return found


def cut(photo: Picture, box: Box) -> Picture:
    """The part of a photo in (top, left, bottom, right): all pixels that the box touches, at least one."""
    h, w = photo.shape[:2]
    top, left = min(int(np.floor(box[0])), h - 1), min(int(np.floor(box[1])), w - 1)
    bottom, right = max(int(np.ceil(box[2])), top + 1), max(int(np.ceil(box[3])), left + 1)
    return np.ascontiguousarray(photo[top:bottom, left:right])


def _name(shard: int) -> str:
    return f"thumbnails-{shard:05d}.parquet"


def _read(source: Source, entry: Entry) -> Picture | None:
    try:
        return decode(source.read(entry), entry.id)
    except (OSError, ViztoolError):
        return None


def _jpeg(crop: Picture) -> bytes:
    image = Image.fromarray(crop)
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()
