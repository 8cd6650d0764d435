"""What excites every unit of a layer in some photos: an atlas of them, read out for a sheet of kernels."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from viztool.atlas.build import build_atlas
from viztool.atlas.crops import Album
from viztool.errors import ViztoolError
from viztool.inspect.receptive_field import ReceptiveField
from viztool.kernels.network import Stopped
from viztool.kernels.presets import field_of
from viztool.models.model import Model
from viztool.render.colormaps import Picture
from viztool.results import Part

Photo: TypeAlias = Path | Picture
"""A file, or the photo itself, uint8 RGB (H, W, 3)."""

Kind: TypeAlias = Literal["top", "least", "random"]


@dataclass(frozen=True, repr=False)
class Excerpt(Part):
    """A part of a photo, as large as what the unit sees. value: of the unit there. photo: which."""

    picture: Picture
    value: float
    photo: int


@dataclass(frozen=True, eq=False)
class PhotoActivity:
    """How the channels of a layer answer to n photos.

    sources: their ids in the atlas, see `build_atlas`. means: (n, C), the spatial means. values: by kind, (C, k), of
    single units; photos, places: which photo, and (row, column) in the layer's map, (C, k, 2). field: of a unit, or
    None if it is not known. failed: what could not be read.
    """

    layer: str
    sources: tuple[str, ...]
    means: npt.NDArray[np.float32]
    values: dict[Kind, npt.NDArray[np.float32]]
    photos: dict[Kind, npt.NDArray[np.int64]]
    places: dict[Kind, npt.NDArray[np.int64]]
    field: ReceptiveField | None
    model: Model
    album: Album
    failed: tuple[str, ...] = ()

    def excerpts(self, channel: int, kind: Kind = "top") -> list[Excerpt]:
        """The crops of this kind for a channel, best (or least) first."""
        found = []
        for value, photo, place in zip(
            self.values[kind][channel], self.photos[kind][channel], self.places[kind][channel], strict=True
        ):
            view = self.model.view(_read(self.album, self.sources[photo]))
            found.append(Excerpt(_cut(view, self.field, place), float(value), int(photo)))
        return found

    def views(self, channel: int) -> list[Picture]:
        """The photos that excite a channel most, whole, as the network sees them."""
        return [self.model.view(_read(self.album, self.sources[photo])) for photo in self.photos["top"][channel]]

    def selectivity(self) -> npt.NDArray[np.float32]:
        """(C,): how far each channel's best photo stands out, see `selectivity`."""
        return selectivity(self.means)


def selectivity(means: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(max − mean) / sd over photos of the spatial means (n, C): (C,); 0 of a channel that never changes."""
    sd = means.std(0, dtype=np.float64)
    rise = means.max(0) - means.mean(0, dtype=np.float64)
    scores: npt.NDArray[np.float64] = np.divide(rise, sd, out=np.zeros_like(sd), where=sd > 1e-12)
    return scores.astype(np.float32)


def watch_photos(
    model: Model,
    layer: str,
    photos: Sequence[Photo],
    *,
    keep: int = 6,
    seed: int = 0,
    callback: Callable[[int], None] | None = None,
) -> PhotoActivity:
    """Run the network up to a layer on each photo once, and remember for each of its channels what excites it.

    photos: files, or uint8 RGB (H, W, 3). keep: how many of the top, the least, and of random ones, at most one
    place in each photo. callback: called with how many are done. What cannot be read is left out and said.
    Raises ViztoolError if none can be read.
    """
    if not len(photos):
        raise ViztoolError("no photo could be read: there are none")
    network = Stopped(model, [layer], model.size)
    seen = _as_seen(model, network, layer)
    with tempfile.TemporaryDirectory() as folder:
        atlas = build_atlas(
            seen,
            photos,
            folder,
            layers=("maps", "means"),
            keep=keep,
            callback=None if callback is None else lambda progress: callback(progress.done),
        )
        failed = tuple(reason for _, reason in atlas.failed)
        if not atlas.photos:
            raise ViztoolError(f"no photo could be read: {failed[0]}")
        gone = {name for name, _ in atlas.failed}
        sources = tuple(name for name in atlas.ids if name not in gone)
        number = {name: at for at, name in enumerate(sources)}
        means = atlas.maxima("means")
        values: dict[Kind, npt.NDArray[np.float32]] = {}
        numbers: dict[Kind, npt.NDArray[np.int64]] = {}
        places: dict[Kind, npt.NDArray[np.int64]] = {}
        for kind in _RANKED:
            ranked = [getattr(unit, kind) for unit in atlas["maps"]]
            values[kind] = np.array([[value for _, value, _, _ in unit] for unit in ranked], np.float32)
            numbers[kind] = np.array([[number[name] for name, *_ in unit] for unit in ranked])
            places[kind] = np.array([[place for _, _, place, _ in unit] for unit in ranked])
    album = Album(atlas, photos)
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(sources))[:keep]
    found = [_at_random(network, layer, seen.preprocess(_read(album, sources[photo])), rng) for photo in chosen]
    values["random"], places["random"] = (np.stack(each, 1) for each in zip(*found, strict=True))
    numbers["random"] = np.tile(chosen, (len(atlas["maps"]), 1))  # the same photos for all channels
    return PhotoActivity(layer, sources, means, values, numbers, places, field_of(model, layer), model, album, failed)


_RANKED: tuple[Literal["top", "least"], ...] = ("top", "least")


class _Seen(nn.Module):
    """A layer as a network of its own: its maps, one of 1 × 1 for each number of a vector, and their spatial means."""

    def __init__(self, network: Stopped, layer: str) -> None:
        super().__init__()
        self._network, self._layer = network, layer
        self.maps = nn.MaxPool2d(1)  # hands on what it is given, and has its channels second, whatever their number
        self.means = nn.AdaptiveAvgPool2d(1)

    def forward(self, pictures: Tensor) -> Tensor:
        maps = self._network(pictures.to(self._network.device))[self._layer]
        means: Tensor = self.means(self.maps(maps.float()))
        return means


def _as_seen(model: Model, network: Stopped, layer: str) -> Model:
    """The layer as a model of its own. It takes pictures in [0, 1], as `Stopped` does."""
    zeros, ones = (0.0,) * model.channels, (1.0,) * model.channels
    plain = replace(model.input, mean=zeros, std=ones, channel_order="rgb", value_range=1.0, frames=None)
    return replace(model, net=_Seen(network, layer), input=plain)


def _at_random(
    network: Stopped, layer: str, picture: Tensor, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """One unit of each channel on a picture (1, C, h, w) in [0, 1]: its value, (C,), and (row, column), (C, 2)."""
    with torch.no_grad():
        maps = network(picture.to(network.device))[layer][0].float().cpu().numpy()
    at = rng.integers(0, maps[0].size, len(maps))
    values: npt.NDArray[np.float32] = maps.reshape(len(maps), -1)[np.arange(len(maps)), at]
    return values, np.stack(np.divmod(at, maps.shape[2]), 1)


def _read(album: Album, name: str) -> Picture:
    photo = album.photo(name)
    if photo is None:
        raise ViztoolError(f"{name} cannot be read any more")
    return photo


def _cut(view: Picture, seen: ReceptiveField | None, place: Sequence[int] | npt.NDArray[np.int64]) -> Picture:
    """The part of the network's view that the unit at this place sees; all of it if that is not known."""
    if seen is None or seen.everything or len(seen.size) != 2:
        return view
    box = [
        slice(int(min(max(0, first), extent - 1)), int(max(1, min(extent, end))))
        for (first, end), extent in zip(seen.spans([int(at) for at in place]), view.shape[:2], strict=True)
    ]
    return np.ascontiguousarray(view[box[0], box[1]])
