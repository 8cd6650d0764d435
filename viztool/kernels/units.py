"""Which units of a layer to draw: those that were asked for, or those that stand out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from viztool.errors import ChannelError, LayerError, ModelError, ViztoolError
from viztool.hooks.naming import named_layers, unwrap
from viztool.hooks.select import Pattern, select
from viztool.kernels.ascent import generators
from viztool.kernels.network import Stopped
from viztool.kernels.objectives import OUTPUT
from viztool.kernels.parameterizations import MACO, Shape
from viztool.kernels.photos import PhotoActivity, selectivity
from viztool.models.model import Model
from viztool.models.preprocess import check_size
from viztool.targets.resolve import class_indices

SIZE = 128
"""Of a channel's picture, in pixels, where none is asked for."""

_CHOSEN = 8
_NOISES = 64


@dataclass(frozen=True)
class Units:
    """Which units to draw, and how they came to be chosen. labels: of each, as the sheet calls it.

    kind: what is climbed: the spatial mean of a channel, one neuron of it in the middle of the map, or the spatial
    mean along a direction in channel space. directions: (n, C), which the indices are of.
    """

    layer: str
    indices: tuple[int, ...]
    labels: tuple[str, ...]
    width: int
    chosen: str
    kind: Literal["channel", "neuron", "direction"] = "channel"
    directions: Tensor | None = None


def one_layer(model: Model, pattern: Pattern) -> str:
    """The one layer that a pattern names. Raises LayerError if it names none, or several."""
    picked = select(named_layers(unwrap(model.net)), pattern)
    if len(picked) > 1:
        raise LayerError(f"{pattern!r} picks {len(picked)} layers, {picked[0]!r} and others; name one")
    return picked[0]


def picture_size(model: Model, layer: str, asked: int | tuple[int, int] | None) -> tuple[int, int]:
    """(h, w) of pictures for a layer: as asked; else the network's own for classes, and for a fixed size; else 128."""
    if asked is not None:
        return check_size(asked)
    if layer == OUTPUT:
        return model.size
    usual = check_size(SIZE)
    try:
        Stopped(model, [layer], usual, fold=False)
    except ModelError:
        return model.size
    return usual


def every_channel(model: Model, layer: Pattern, size: int | tuple[int, int] | None = None) -> list[int]:
    """The numbers of all channels of a layer."""
    name = one_layer(model, layer)
    return list(range(Stopped(model, [name], picture_size(model, name, size), fold=False).widths[name]))


def classes_of(model: Model, targets: Sequence[int | str], size: tuple[int, int]) -> Units:
    """Classes, by index or name. Raises TargetError for one that is not there."""
    network = Stopped(model, [OUTPUT], size, fold=False)
    assert network.reading is not None
    width = network.widths[OUTPUT]
    indices = class_indices(targets, network.reading.names, width)
    labels = tuple(map(network.reading.name, indices))
    return Units(OUTPUT, indices, labels, width, "classes as asked")


def read_directions(path: Path) -> npt.NDArray[np.float32]:
    """The numbers of a file: a .npy, or text with a row for each direction, spaces or commas between the numbers."""
    try:
        if path.suffix.lower() == ".npy":
            return np.asarray(np.load(path, allow_pickle=False), np.float32)
        return np.loadtxt(path.read_text(encoding="utf-8").replace(",", " ").splitlines(), np.float32, ndmin=2)
    except (OSError, ValueError) as error:
        raise ViztoolError(f"{path} holds no direction; give a .npy file, or numbers in text ({error})") from error


def directions_of(model: Model, layer: str, directions: npt.ArrayLike | Tensor, size: tuple[int, int]) -> Units:
    """Directions in a layer's channels: (C,), or several, (n, C). Raises LayerError for what is none."""
    width = Stopped(model, [layer], size, fold=False).widths[layer]
    given = directions.detach().float().cpu() if isinstance(directions, Tensor) else np.asarray(directions, np.float32)
    vectors = torch.as_tensor(given)
    vectors = vectors[None] if vectors.dim() == 1 else vectors
    if vectors.dim() != 2 or vectors.shape[1] != width or not len(vectors):
        shape = " × ".join(map(str, given.shape)) or "1"
        raise LayerError(f"a direction of {layer!r} has {width} numbers, one for each channel; this has {shape}")
    if not bool(vectors.isfinite().all()) or not bool(vectors.any(1).all()):
        raise LayerError("a direction has numbers that are finite, and not all of them zero")
    labels = tuple(f"direction {index}" for index in range(len(vectors))) if len(vectors) > 1 else ("direction",)
    return Units(layer, tuple(range(len(vectors))), labels, width, "directions as given", "direction", vectors)


def channels_of(
    model: Model,
    layer: str,
    channels: Sequence[int] | None,
    size: tuple[int, int],
    activity: PhotoActivity | None,
    seed: int,
) -> Units:
    """Channels of a layer, those asked for or the most selective. Raises LayerError for one that is not there."""
    if channels is not None:
        width = Stopped(model, [layer], size, fold=False).widths[layer]
        for index in channels:
            if not 0 <= index < width:
                raise ChannelError(f"layer {layer!r} has {width} channels, 0 to {width - 1}, and no {index}")
        if not channels:
            raise LayerError("no channel is named; name at least one, or leave them out for the most selective")
        return Units(layer, tuple(channels), tuple(f"#{index}" for index in channels), width, "channels as asked")
    means = noise_means(model, layer, size, seed) if activity is None else activity.means
    scores = selectivity(np.nan_to_num(means))
    best = np.argsort(-scores, kind="stable")[:_CHOSEN]
    over = f"noise with the spectrum of photos ({_NOISES}; photos choose better)" if activity is None else "the photos"
    return Units(
        layer,
        tuple(int(index) for index in best),
        tuple(f"#{index}" for index in best),
        means.shape[1],
        f"the {len(best)} most selective, by (max − mean) / sd over {over}",
    )


def noise_means(model: Model, layer: str, size: tuple[int, int], seed: int) -> npt.NDArray[np.float32]:
    """Spatial means of each channel over pictures with the spectrum of photos and random phases: (n, C)."""
    network = Stopped(model, [layer], size)
    shape = Shape(model.channels, size, model.device)
    found = []
    with torch.no_grad():
        for first in range(0, _NOISES, 8):
            drawn = generators([(seed, index) for index in range(first, first + 8)], 3)
            images = MACO().start(shape, drawn).image()
            found.append(network(images)[layer].float().mean((2, 3)).cpu())
    return torch.cat(found).numpy()
