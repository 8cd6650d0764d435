"""Small pictures of channels: what each answered to most in the photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from viztool.circuits.looking import Glance
from viztool.errors import ViztoolError
from viztool.inspect.receptive_field import ReceptiveField
from viztool.inspect.survey import Site
from viztool.kernels.visualize import visualize_kernels
from viztool.models.model import Model
from viztool.render.colormaps import Picture
from viztool.results import Part

SHOWN = 6
"""Edges on either side that have pictures."""


@dataclass(frozen=True, repr=False)
class Icon(Part):
    """crop: what the channel answered to most; value: how much; photo: in which. optimum: what excites it, if drawn."""

    crop: Picture | None
    value: float
    photo: str
    optimum: Picture | None = None


def crops(seen: Glance, sites: Mapping[str, Site], wanted: Mapping[str, Sequence[int]]) -> dict[tuple[str, int], Icon]:
    """An icon for each channel that is wanted of a layer, cut from the photo where it answered most."""
    found = {}
    for layer, channels in wanted.items():
        best = seen.best(layer)
        for channel in channels:
            shot = seen.shots[int(best.photo[channel])]
            _, view = shot.look()
            crop = cut(view, sites[layer].field, best.place[channel].tolist())
            found[layer, channel] = Icon(crop, float(best.value[channel]), shot.name)
    return found


def with_optima(
    icons: Mapping[tuple[str, int], Icon], model: Model, steps: int, seed: int
) -> dict[tuple[str, int], Icon]:
    """The same with the picture that excites each channel most, where one can be drawn."""
    found = dict(icons)
    for layer in dict.fromkeys(layer for layer, _ in icons):
        channels = [channel for name, channel in icons if name == layer]
        try:
            sheet = visualize_kernels(model, layer, channels, steps, seed=seed, negative=False)
        except ViztoolError:  # no maps, or another size than pictures have
            continue
        for kernel in sheet.kernels:
            key = layer, kernel.unit
            found[key] = replace(found[key], optimum=None if kernel.optimum.status else kernel.optimum.pixels)
    return found


def cut(view: Picture, sees: ReceptiveField | None, place: Sequence[int]) -> Picture:
    """What the unit at this place saw of the network's view; all of it if that is not known."""
    if sees is None or sees.everything or len(sees.size) != 2:
        return view
    box = [
        slice(int(min(max(0, first), extent - 1)), int(max(1, min(extent, end))))
        for (first, end), extent in zip(sees.spans([int(at) for at in place]), view.shape[:2], strict=True)
    ]
    return np.ascontiguousarray(view[box[0], box[1]])
