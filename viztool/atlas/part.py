"""What was found in one range of photos, and the file that it is kept in: whole, with a checksum, or not at all."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from safetensors.numpy import load, save

from viztool.atlas.field import Box
from viztool.atlas.ranges import Bounds
from viztool.atlas.ranks import Ranks
from viztool.images import atomic_write

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, eq=False)
class LayerPart:
    """One layer on the n photos of a range that could be read; C channels.

    top, least: where each channel's spatial maximum (minimum) is largest (smallest). maxima: (n, C), the spatial
    maximum of each photo. means: (4, C), of the photos' spatial means the sum, the sum of squares, the least and the
    largest. rows, bins, counts: how many positions fall into which bin
    (see `bins`), where any does: those of channel c are rows[c] to rows[c + 1]. relevant: where each channel's
    relevance is largest, if that was asked for.
    """

    top: Ranks
    least: Ranks
    maxima: npt.NDArray[np.float32]
    means: npt.NDArray[np.float64]
    rows: npt.NDArray[np.int64]
    bins: npt.NDArray[np.uint16]
    counts: npt.NDArray[np.uint32]
    relevant: Ranks | None = None


@dataclass(frozen=True)
class Seen:
    """A photo of the manifest, as it was when it was looked at.

    digest: sha256 of its bytes. extent: its (H, W). box: top, left, bottom, right in it of what the network saw; size:
    (h, w) of that in the network's input. error: why it could not be looked at, or None.
    """

    photo: int
    digest: str
    stamp: str
    extent: tuple[int, int] | None = None
    box: Box | None = None
    size: tuple[int, int] | None = None
    error: str | None = None


@dataclass(frozen=True, eq=False)
class Part:
    """What was found in the photos from number `start` up to `stop`, not included."""

    start: int
    stop: int
    seen: tuple[Seen, ...]
    layers: Mapping[str, LayerPart]


def write_part(path: Path, part: Part, fingerprint: str) -> None:
    """Write it whole or not at all, and make sure that it is on the disk. fingerprint: of what it was found with."""
    names = list(part.layers)
    arrays: Arrays = {}
    for at, name in enumerate(names):
        layer = part.layers[name]
        for kind, ranks in (("top", layer.top), ("least", layer.least), ("relevant", layer.relevant)):
            if ranks is not None:
                arrays |= {f"{at}.{kind}.{field}": array for field, array in ranks.arrays.items()}
        for field in _FIELDS:
            arrays[f"{at}.{field}"] = getattr(layer, field)
    told = {
        "fingerprint": fingerprint,
        "range": [part.start, part.stop],
        "layers": names,
        "seen": [astuple(one) for one in part.seen],
    }
    whole = save(arrays, metadata={"viztool": json.dumps(told, sort_keys=True)})
    content = len(whole).to_bytes(8, "little") + pa.compress(whole, codec=_CODEC, asbytes=True)
    with atomic_write(path) as file:
        file.write(hashlib.sha256(content).digest())
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


_FIELDS = ("maxima", "means", "rows", "bins", "counts")


def stamps(path: Path, fingerprint: str, bounds: Bounds) -> dict[int, str] | None:
    """By the number of each photo of a part, the stamp that it had when it was looked at.

    None unless the file holds the part of this range, found with this, and its checksum is right.
    """
    try:
        content = _content(path)
    except OSError:
        return None
    if content is None:
        return None
    with pa.CompressedInputStream(pa.BufferReader(content[8:]), _CODEC) as stream:  # no more of it than is needed
        length = stream.read(8)
        told = _told(length + stream.read(int.from_bytes(length, "little")))
    if told["fingerprint"] != fingerprint or told["range"] != list(bounds):
        return None
    return {photo: stamp for photo, _, stamp, *_ in told["seen"]}


def read_part(path: Path) -> Part | None:
    """The part in this file; None if the file is not there or not whole."""
    try:
        content = _content(path)
    except OSError:
        return None
    if content is None:
        return None
    whole: bytes = pa.decompress(
        content[8:], decompressed_size=int.from_bytes(content[:8], "little"), codec=_CODEC, asbytes=True
    )
    told, arrays = _told(whole), load(whole)
    layers = {}
    for at, name in enumerate(told["layers"]):
        top, least = _ranks(arrays, at, "top"), _ranks(arrays, at, "least")
        others: dict[str, Any] = {field: arrays[f"{at}.{field}"] for field in _FIELDS}
        relevant = _ranks(arrays, at, "relevant") if f"{at}.relevant.value" in arrays else None
        layers[name] = LayerPart(top, least, **others, relevant=relevant)
    start, stop = told["range"]
    return Part(start, stop, tuple(_seen(one) for one in told["seen"]), layers)


def _ranks(arrays: Arrays, at: int, kind: str) -> Ranks:
    return Ranks(**{field: arrays[f"{at}.{kind}.{field}"] for field in ("value", "photo", "row", "column")})


def _seen(told: list[Any]) -> Seen:
    """From JSON, which has lists for tuples."""
    values: Any = (tuple(value) if isinstance(value, list) else value for value in told)
    return Seen(*values)


_CODEC = "zstd"
_DIGEST = hashlib.sha256().digest_size


def _content(path: Path) -> bytes | None:
    """What follows the checksum, its length and itself compressed; None if the checksum is another."""
    whole = path.read_bytes()
    content = whole[_DIGEST:]
    return content if hashlib.sha256(content).digest() == whole[:_DIGEST] else None


def _told(content: bytes) -> dict[str, Any]:
    length = int.from_bytes(content[:8], "little")
    header: dict[str, Any] = json.loads(content[8 : 8 + length])
    told: dict[str, Any] = json.loads(header["__metadata__"]["viztool"])
    return told
