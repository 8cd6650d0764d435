"""What excites every unit of a layer in a folder of photos, from one pass over them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from viztool.errors import ImageError, ViztoolError
from viztool.images import read_image
from viztool.inspect.receptive_field import ReceptiveField
from viztool.kernels.network import Stopped
from viztool.kernels.presets import field_of
from viztool.models.model import Model
from viztool.models.repeated import at_once
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

    means: (n, C), the spatial means. values: by kind, (C, k), of single units; photos, places: which photo, and
    (row, column) in the layer's map, (C, k, 2). field: of a unit, or None if it is not known.
    failed: what could not be read.
    """

    layer: str
    sources: tuple[Photo, ...]
    means: npt.NDArray[np.float32]
    values: dict[Kind, npt.NDArray[np.float32]]
    photos: dict[Kind, npt.NDArray[np.int64]]
    places: dict[Kind, npt.NDArray[np.int64]]
    field: ReceptiveField | None
    model: Model
    failed: tuple[str, ...] = ()

    def excerpts(self, channel: int, kind: Kind = "top") -> list[Excerpt]:
        """The crops of this kind for a channel, best (or least) first."""
        found = []
        for value, photo, place in zip(
            self.values[kind][channel], self.photos[kind][channel], self.places[kind][channel], strict=True
        ):
            if np.isfinite(value):
                view = self.model.view(_read(self.sources[photo]))
                found.append(Excerpt(_cut(view, self.field, place), float(value), int(photo)))
        return found

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
    photos: Iterable[Photo],
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
    network = Stopped(model, [layer], model.size)
    ranks: _Ranks | None = None
    sources: list[Photo] = []
    means: list[npt.NDArray[np.float32]] = []
    failed: list[str] = []
    rng = np.random.default_rng(seed)
    for part, inputs in _batches(model, photos, failed):
        with torch.no_grad():
            maps = network(inputs)[layer].float()
        means.append(maps.mean((2, 3)).cpu().numpy())
        ranks = ranks or _Ranks(maps.shape[1], keep)
        ranks.add(maps, len(sources), rng)
        sources += part
        if callback is not None:
            callback(len(sources))
    if ranks is None:
        raise ViztoolError(f"no photo could be read: {failed[0] if failed else 'there are none'}")
    return PhotoActivity(
        layer,
        tuple(sources),
        np.concatenate(means),
        ranks.values,
        ranks.photos,
        ranks.places,
        field_of(model, layer),
        model,
        tuple(failed),
    )


def _batches(model: Model, photos: Iterable[Photo], failed: list[str]) -> Iterator[tuple[list[Photo], Tensor]]:
    """Photos and the network's pictures of them in [0, 1], (n, C, h, w), a few at a time; those alike in size."""
    part: list[Photo] = []
    tensors: list[Tensor] = []
    limit = at_once(model.device)
    for photo in photos:
        try:
            pixels = model.input.pixels(_read(photo))
        except ImageError as error:
            failed.append(str(error))
            continue
        tensor = torch.tensor(pixels).permute(2, 0, 1).float() / 255
        if tensors and (len(tensors) == limit or tensor.shape != tensors[0].shape):
            yield part, torch.stack(tensors).to(model.device)
            part, tensors = [], []
        part.append(photo)
        tensors.append(tensor)
    if tensors:
        yield part, torch.stack(tensors).to(model.device)


def _read(photo: Photo) -> Picture:
    return read_image(photo) if isinstance(photo, Path) else photo


@dataclass
class _Ranks:
    """The best of each kind so far: memory does not grow with the photos."""

    channels: int
    keep: int
    values: dict[Kind, npt.NDArray[np.float32]] = field(default_factory=dict)
    photos: dict[Kind, npt.NDArray[np.int64]] = field(default_factory=dict)
    places: dict[Kind, npt.NDArray[np.int64]] = field(default_factory=dict)
    _keys: dict[Kind, npt.NDArray[np.float64]] = field(default_factory=dict)

    def add(self, maps: Tensor, first: int, rng: np.random.Generator) -> None:
        """maps: (n, C, h, w) of the photos from number `first` on."""
        w = maps.shape[3]
        flat = maps.flatten(2).cpu().nan_to_num(-torch.inf, torch.inf, -torch.inf)
        count, channels, spots = flat.shape
        chosen: dict[Kind, tuple[Tensor, Tensor]] = {"top": flat.max(2), "least": flat.min(2)}
        at = torch.from_numpy(rng.integers(0, spots, (count, channels)))
        chosen["random"] = (flat.gather(2, at[..., None])[..., 0], at)
        lottery = np.repeat(rng.random((count, 1)), channels, 1)  # the same photos for all channels
        for kind, (values, places) in chosen.items():
            found = values.numpy().T
            key = {"top": found, "least": -found, "random": lottery.T}[kind].astype(np.float64)
            rows, columns = places.numpy().T // w, places.numpy().T % w
            numbers = np.broadcast_to(np.arange(first, first + count), key.shape)
            self._merge(kind, key, found, numbers, np.stack([rows, columns], -1))

    def _merge(
        self,
        kind: Kind,
        key: npt.NDArray[np.float64],
        values: npt.NDArray[np.float32],
        photos: npt.NDArray[np.int64],
        places: npt.NDArray[np.int64],
    ) -> None:
        if kind in self._keys:
            key = np.concatenate([self._keys[kind], key], 1)
            values = np.concatenate([self.values[kind], values], 1)
            photos = np.concatenate([self.photos[kind], photos], 1)
            places = np.concatenate([self.places[kind], places], 1)
        order = np.argsort(-key, axis=1, kind="stable")[:, : self.keep]
        self._keys[kind] = np.take_along_axis(key, order, 1)
        self.values[kind] = np.take_along_axis(values, order, 1)
        self.photos[kind] = np.take_along_axis(photos, order, 1)
        self.places[kind] = np.take_along_axis(places, order[..., None], 1)


def _cut(view: Picture, seen: ReceptiveField | None, place: Sequence[int] | npt.NDArray[np.int64]) -> Picture:
    """The part of the network's view that the unit at this place sees; all of it if that is not known."""
    if seen is None or seen.everything or len(seen.size) != 2:
        return view
    box = [
        slice(int(min(max(0, first), extent - 1)), int(max(1, min(extent, end))))
        for (first, end), extent in zip(seen.spans([int(at) for at in place]), view.shape[:2], strict=True)
    ]
    return np.ascontiguousarray(view[box[0], box[1]])
