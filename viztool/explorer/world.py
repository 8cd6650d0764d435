"""What is known of channels beside this photo: their values in a whole data set, and what excites them most."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import nn

from viztool.explorer.look import Look
from viztool.models.model import Model
from viztool.render.colormaps import Picture
from viztool.render.numbers import number, percent

if TYPE_CHECKING:
    from viztool.atlas import Atlas
    from viztool.atlas.unit import Unit
    from viztool.kernels.task import Run

WITH_PICTURES = 24
"""Channels of each layer whose photos are on the page: those of largest σ, and those that speak most for the class."""
WITH_OPTIMUM = 8
_TOP, _LEAST = 4, 2
_COMPARED = 8
"""Photos by activation and by relevance, of which it is said how many are the same."""
_SIDE = 96
SHARES = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 1.0)
_BINS = 48


@dataclass
class World:
    """units: by layer and channel. unusual: for each photo, by layer, how unusual each channel's answer is: the rarest
    has the largest number.
    """

    units: dict[str, dict[int, dict[str, Any]]] = field(default_factory=dict)
    unusual: list[Mapping[str, npt.NDArray[np.float32]]] = field(default_factory=list)

    def of(self, layer: str, channel: int) -> dict[str, Any]:
        """What is known of a channel, to be added to."""
        return self.units.setdefault(layer, {}).setdefault(channel, {})


def foremost(look: Look, count: int) -> dict[str, list[int]]:
    """By layer, the channels to show more of: half of them those of largest σ, half those that speak for the class."""
    found: dict[str, list[int]] = {}
    for place, layer in enumerate(look.layers):
        ranked = [int(channel) for channel in layer.of.statistics.ranked()]
        share = look.classes[0].shares[place] if look.classes else None
        if share is not None:
            speaking = [int(channel) for channel in np.argsort(-share, kind="stable")[: count // 2]]
            ranked = [*speaking, *(channel for channel in ranked if channel not in speaking)]
        found[layer.of.name] = ranked[:count]
    return found


def add_atlas(world: World, atlas: Atlas, model: Model | nn.Module, photos: Sequence[Picture], look: Look) -> None:
    """Histogram, quantiles and photos. Raises ViztoolError if the atlas is of another network."""
    from viztool.atlas.crops import Album
    from viztool.atlas.unusual import unusual

    for photo in photos:
        order: dict[str, npt.NDArray[np.float32]] = {
            name: np.zeros(count, np.float32) for name, count in atlas.layers.items()
        }
        rarest = unusual(atlas, model, photo, sum(atlas.layers.values()))
        for rank, one in enumerate(rarest):
            order[one.layer][one.channel] = len(rarest) - rank
        world.unusual.append(order)
    album = Album(atlas)
    chosen = foremost(look, WITH_PICTURES)
    for layer in look.layers:
        name = layer.of.name
        if name not in atlas.layers or atlas.layers[name] != len(layer.of.maps):
            continue
        for unit in atlas[name]:
            known = world.of(name, unit.channel)
            known.update(_values(unit, atlas.photos))
            if unit.relevant:
                count = min(_COMPARED, len(unit.top))
                known["overlap"] = [round(unit.overlap(count) * count), count]
            pictured = unit.channel in chosen[name]
            for kind, places, count in (
                ("top", unit.top, _TOP),
                ("least", unit.least, _LEAST),
                ("relevant", unit.relevant, _TOP),
            ):
                crops = album.crops(unit, kind, count) if pictured else [None] * count
                known[kind] = [
                    {"photo": place[0], "value": place[1], "picture": None if crop is None else jpeg(crop)}
                    for place, crop in zip(places, crops, strict=False)
                ]


def add_optima(world: World, model: Model | nn.Module, look: Look, run: Run | None) -> None:
    """What excites the foremost channels of each layer, by gradient ascent."""
    from viztool.kernels import visualize_kernels
    from viztool.kernels.task import Run

    for name, channels in foremost(look, WITH_OPTIMUM).items():
        sheet = visualize_kernels(model, name, channels, negative=False, run=run or Run())
        for kernel in sheet.kernels:
            world.of(name, kernel.unit)["optimum"] = jpeg(kernel.optimum.pixels, 128)


def jpeg(picture: Picture, side: int = _SIDE) -> str:
    """A small picture in base64."""
    small = Image.fromarray(picture)
    small.thumbnail((side, side))
    out = io.BytesIO()
    small.save(out, "JPEG", quality=70)
    return base64.b64encode(out.getvalue()).decode()


def _values(unit: Unit, photos: int) -> dict[str, Any]:
    histogram = unit.histogram
    if not len(histogram.counts):
        return {"words": "No photo was seen."}
    low, high = float(histogram.edges[0]), float(histogram.edges[-1])
    edges = np.linspace(low, high, _BINS + 1)
    middles = (histogram.edges[1:] + histogram.edges[:-1]) / 2
    counts, _ = np.histogram(middles, edges, weights=histogram.counts)
    return {
        "edges": [float(f"{edge:.4g}") for edge in edges],
        "counts": [int(count) for count in counts],
        "quantiles": [float(f"{unit.quantile(share):.5g}") for share in SHARES],
        "words": f"{photos:,} photos; at most {number(unit.maximum, '.4g')}, "
        f"above 0 on {percent(unit.active)} of them.",
    }
