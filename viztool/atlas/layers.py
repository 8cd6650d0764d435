"""Which layers are looked at, how many channels each has, and what its units see."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from viztool.atlas.field import Axes
from viztool.atlas.ranges import BATCH
from viztool.atlas.worker import running
from viztool.errors import LayerError
from viztool.hooks.capture import capture
from viztool.hooks.naming import named_layers, unwrap
from viztool.hooks.select import STAGES, exactly
from viztool.hooks.stages import having_maps
from viztool.hooks.watch import watch
from viztool.inspect.one_forward import untouched
from viztool.inspect.trace import FieldTracer
from viztool.models.model import Model
from viztool.tensors.tree import tensors_in


@dataclass(frozen=True)
class LookedAt:
    """A layer with maps. axes: what its units see along the axes of the input."""

    name: str
    channels: int
    axes: Axes


def looked_at(model: Model, patterns: str | Iterable[str]) -> list[LookedAt]:
    """The layers that the patterns pick, in the order in which they run. Raises LayerError for one without maps."""
    net = unwrap(model.net)
    x = torch.zeros(1, model.channels, *model.size, device=model.device, dtype=model.dtype)
    wanted = [patterns] if isinstance(patterns, str) else list(patterns)
    with running(model.name, x), untouched(net, x) as own, having_maps() if wanted == [STAGES] else nullcontext():
        with capture(net, wanted, reduce=_shape) as acts:
            net(own.clone())
        names = acts.layers
        with capture(net, names, maps=True, reduce=_shape) as maps:
            net(own.clone())
        axes: dict[str, Axes] = {}
        with FieldTracer(net, own) as tracer:

            def note(name: str, _module: Any, output: Any) -> None:
                first = next(tensors_in(output), None)
                axes[name] = None if first is None else tracer.axes(first)

            layers = named_layers(net)
            with watch({name: layers[name] for name in names}, exit=note):
                net(own)
    found = []
    for name in names:
        shape = maps[name]
        if not isinstance(shape, tuple) or len(shape) != 4:
            raise LayerError(f"layer {name!r} puts out no one tensor of maps (N, C, h, w); choose another")
        found.append(LookedAt(name, shape[1], axes.get(name)))
    return found


def at_once(model: Model, layers: Iterable[str]) -> int:
    """How many photos the network looks at in one forward: one where it goes through them one by one.

    The maps of a layer are then of one photo, however many there are.
    """
    net = unwrap(model.net)
    one = torch.zeros(1, model.channels, *model.size, device=model.device, dtype=model.dtype)
    shapes = []
    for x in (one, torch.cat([one, one])):
        with running(model.name, x), untouched(net, x) as own, capture(net, exactly(layers), reduce=_shape) as acts:
            net(own)
        shapes.append([acts[name] for name in acts.layers])
    return BATCH if all(alone != both for alone, both in zip(*shapes, strict=True)) else 1


def _shape(tensor: Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)
