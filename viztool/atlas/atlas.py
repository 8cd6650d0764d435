"""Read an atlas: what every unit of a network does over a data set. Needs neither the network nor torch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from viztool.atlas import tables
from viztool.atlas.field import Axes, from_numbers
from viztool.atlas.merge import LayerTotals, total
from viztool.atlas.part import Seen, read_part
from viztool.atlas.ranges import part_file, ranges
from viztool.atlas.unit import Layer
from viztool.errors import LayerError, ViztoolError
from viztool.render.numbers import counted

if TYPE_CHECKING:
    from torch import nn

    from viztool.models.model import Model
    from viztool.render.colormaps import Picture


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
        units, layers = counted(sum(self.layers.values()), "units"), counted(len(self.layers), "layers")
        return f"{units} of {layers} over {counted(self.photos, 'photos')}{failed}"

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
        maximum is in a higher bin (see `bins`). First comes the unit whose bin the fewest photos reach or exceed: a
        dead one, which none exceed, comes last. Of equal ones that with the lower share above, then that whose value is
        more standard deviations above its mean. Raises ViztoolError if the model has other weights,
        another preprocessing or precision: its values could not be compared.
        """
        from viztool.atlas.unusual import unusual

        return [one.row for one in unusual(self, model, photo, count)]

    def rows(self, table: str, layer: str) -> pa.Table:
        """The rows of one layer in a table; none if there is no such table."""
        if table in self._held:
            whole = self._held[table]
            return whole.filter(pc.equal(whole["layer"], layer))
        if table not in self.about.get("tables", ()):
            return pa.table({"channel": pa.array([], pa.int32())})
        return tables.read_table(self.folder, table, filters=[("layer", "=", layer)])

    @cached_property
    def _layers(self) -> dict[str, Layer]:
        return {name: Layer(self, name, channels) for name, channels in self.layers.items()}

    @cached_property
    def _photo_rows(self) -> pa.Table:
        held = self._held.get(tables.PHOTOS)
        return tables.read_table(self.folder, tables.PHOTOS) if held is None else held


def open_atlas(folder: str | os.PathLike[str]) -> Atlas:
    """The atlas in a folder; of one that is still being built, what is finished by now.

    Raises ViztoolError if there is none.
    """
    place = Path(folder)
    about = tables.read_json(place / tables.ATLAS)
    if about is not None:
        return Atlas(place, about)
    about = tables.read_json(place / tables.ABOUT)
    if about is None:
        if tables.is_damaged(place / tables.ABOUT):
            raise ViztoolError(f"{place / tables.ABOUT} is damaged; the same build command mends it")
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
    manifest = tables.read_table(place, tables.MANIFEST)
    fields = {name: from_numbers(numbers) for name, numbers in about["fields"].items()}
    return {
        tables.PHOTOS: tables.photo_table(manifest["id"].to_pylist(), manifest["label"].to_pylist(), seen),
        tables.UNITS: tables.unit_table(totals),
        tables.PLACES: tables.place_table(totals, fields, seen),
        tables.HISTOGRAMS: tables.histogram_table(totals),
        tables.ALIKES: tables.alike_table(totals),
    }
