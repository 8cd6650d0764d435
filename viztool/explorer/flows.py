"""What flows from channel to channel on a photo: measured edges to walk along, and relevance for the class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from viztool.attribution.arriving import arriving
from viztool.circuits.matrix import effects_on
from viztool.errors import ViztoolError
from viztool.explorer.look import Look
from viztool.explorer.world import World
from viztool.models.model import Model
from viztool.models.subject import looks_at
from viztool.render.colormaps import Picture

_EDGES = 5
"""On either side of a unit."""


def add_flows(
    world: World, model: Model | nn.Module, photos: Sequence[Picture | Tensor], looks: Sequence[Look]
) -> None:
    """For each channel and photo: its strongest inputs and outputs among the shown layers, and its relevance."""
    for which, (photo, look) in enumerate(zip(photos, looks, strict=True)):
        [(x, _)], _ = looks_at(model, photo, "photo")
        names = [layer.of.name for layer in look.layers]
        for found in effects_on(model, x, names):
            for channel, row in enumerate(found.effects):
                _known(world, which, found.source, channel)["outputs"] = _edges(found.later, row)
            for channel, column in enumerate(found.effects.T):
                _known(world, which, found.later, channel)["inputs"] = _edges(found.source, column)
        _add_relevance(world, model, x, names, which, look)


def _add_relevance(
    world: World, model: Model | nn.Module, x: Tensor, names: Sequence[str], which: int, look: Look
) -> None:
    try:
        arrived = arriving(model, x, names)
    except ViztoolError:  # no rule for what the network does, or no maps
        return
    said = look.classes[0].name if look.classes else "what the network says"
    for name, maps in arrived.items():
        sums = maps[0].double().sum((1, 2)).cpu().numpy()
        order = np.argsort(-sums, kind="stable")
        for rank, channel in enumerate(order.tolist(), 1):
            share = {"class": said, "value": _short(sums[channel]), "rank": rank, "of": len(sums)}
            _known(world, which, name, channel)["relevance"] = share


def _known(world: World, which: int, layer: str, channel: int) -> dict[str, Any]:
    flows: list[dict[str, Any]] = world.of(layer, channel).setdefault("flows", [])
    flows += [{} for _ in range(which + 1 - len(flows))]
    return flows[which]


def _edges(layer: str, effects: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, Any]:
    order = np.argsort(-np.abs(effects), kind="stable")[:_EDGES]
    return {"layer": layer, "edges": [[int(channel), _short(effects[channel])] for channel in order]}


def _short(value: float) -> float:
    return float(f"{value:.4g}")
