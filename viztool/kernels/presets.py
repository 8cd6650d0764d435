"""Settings of an ascent, by what is climbed: those that `scripts/search_kernels.py` found the most vivid."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from viztool.hooks.naming import named_layers, unwrap
from viztool.hooks.select import Pattern, name_of
from viztool.hooks.watch import watch
from viztool.inspect.one_forward import untouched
from viztool.inspect.receptive_field import ReceptiveField
from viztool.inspect.trace import FieldTracer
from viztool.kernels.ascent import Window
from viztool.kernels.objectives import OUTPUT
from viztool.kernels.transforms import Transforms, crop, jitter, noise, pad, rotate, scale
from viztool.models.model import Model
from viztool.tensors.size import Size
from viztool.tensors.tree import tensors_in

_COARSE = 32
"""Pixels of a receptive field from which on a unit sees shapes. A fast ascent to less ends in the grid of strides."""


class _Reached(BaseException):
    """The layer has run; the rest of the network is of no interest."""


@dataclass(frozen=True)
class Preset:
    """How to ascend. rate, decay: of Fourier coefficients, see `Fourier`. window: as in `Settings`."""

    transforms: Transforms
    rate: float
    decay: float
    steps: int
    window: Window | None = None


def for_classes(size: Size) -> Preset:
    """Shifts and windows of all sizes: a class is to be seen in the whole picture and in its parts."""
    unit = max(1, round(min(size) / 16))
    return Preset(Transforms(pad(unit), jitter(2 * unit), crop(0.4), rotate(15), noise(0.02)), 0.12, 1.5, 256)


def for_channels(size: Size, field: ReceptiveField | None) -> Preset:
    """Shifts, zooms and turns; a slow ascent for what sees little. field: of the layer, None if it is not known."""
    fine = field is not None and not field.everything and max(field.size) < _COARSE
    return Preset(default_transforms(size), *((0.05, 1.5, 256) if fine else (0.2, 1.5, 384)))


def default_transforms(size: Size) -> Transforms:
    """Shifts by an eighth and a sixteenth, zooms by a tenth, turns of 15°.

    After lucid, which shifts pictures of 128 pixels by 8 and 4, half as far, and turns by 10°.
    """
    unit = max(1, round(min(size) / 32))
    return Transforms(pad(3 * unit), jitter(4 * unit), scale(0.9, 1.1), rotate(15), jitter(2 * unit))


def preset_of(model: Model, layers: Iterable[Pattern], size: Size) -> Preset:
    """That for objectives of these layers: by the layer that sees the most."""
    known = named_layers(unwrap(model.net))
    names = [name_of(known, layer) for layer in layers]
    if OUTPUT in names:
        return for_classes(size)
    fields = [field_of(model, name) for name in names]
    known_fields = [field for field in fields if field is not None]
    whole = len(known_fields) < len(fields) or any(field.everything for field in known_fields)
    return for_channels(size, None if whole else max(known_fields, key=lambda field: max(field.size), default=None))


def field_of(model: Model, layer: str) -> ReceptiveField | None:
    """The receptive field of a layer's units, in photos as large as the network's own; None if it is not known."""
    if layer == OUTPUT or model.input.frames is not None:
        return None
    net = unwrap(model.net)
    known = named_layers(net)
    x = torch.zeros(1, model.channels, *model.size, device=model.device, dtype=model.dtype)
    found: list[ReceptiveField | None] = []
    if layer not in known:
        return None
    with suppress(_Reached), untouched(net, x) as own, FieldTracer(net, own) as tracer:

        def leave(_name: str, _module: nn.Module, output: Any) -> None:
            first = next(tensors_in(output), None)
            found.append(None if first is None else tracer.of(first))
            raise _Reached

        with watch({layer: known[layer]}, exit=leave):
            net(own)
    return found[0] if found else None
