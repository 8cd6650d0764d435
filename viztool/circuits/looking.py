"""Photos, one after the other, and what some layers' channels do on them at most."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from viztool.errors import ImageError, ModelError, ViztoolError
from viztool.hooks.capture import capture
from viztool.hooks.select import exactly
from viztool.images import find_images, read_image
from viztool.inspect.survey import Site
from viztool.models.model import Model
from viztool.models.subject import looks_at
from viztool.render.colormaps import Picture

if TYPE_CHECKING:
    from viztool.atlas.atlas import Atlas
    from viztool.atlas.sources import Entry

Photos: TypeAlias = "str | Path | Sequence[str | Path | Picture] | Picture | Tensor | Atlas"
"""A folder or a pattern, files, photos, a tensor (N, C, H, W), or an atlas, whose top photos of the unit are taken."""


@dataclass(frozen=True)
class Shot:
    """One photo that can be looked at again. look: gives the network's input, (1, C, H, W), and its view of it."""

    name: str
    look: Callable[[], tuple[Tensor, Picture]]


def shots(model: Model | nn.Module, photos: Photos, unit: tuple[str, int]) -> list[Shot]:
    """Each photo of what was given. unit: whose photos are taken from an atlas. Raises ViztoolError for none."""
    if isinstance(photos, Tensor):
        given = [Shot(f"image {at}", _of_tensor(model, photos[at : at + 1])) for at in range(len(photos))]
    elif is_atlas(photos):
        given = _of_atlas(model, photos, unit)
    else:
        alone = isinstance(photos, str | os.PathLike) or (isinstance(photos, np.ndarray) and photos.ndim == 3)
        items: Sequence[Any] = [photos] if alone else list(cast(Sequence[Any], photos))
        given = [shot for at, item in enumerate(items) for shot in _shots(model, item, at)]
    if not given:
        raise ViztoolError("there are no photos to measure on")
    return given


def is_atlas(photos: Photos) -> TypeGuard[Atlas]:
    """Whether they are those of an atlas; told without its library, which need not be there."""
    return hasattr(photos, "about") and hasattr(photos, "unusual")


def _shots(model: Model | nn.Module, item: str | os.PathLike[str] | Picture, at: int) -> list[Shot]:
    if isinstance(item, np.ndarray):
        return [Shot(f"photo {at}", partial(_of_picture, model, item))]
    if Path(item).suffix.lower() == ".tar":
        return _of_archive(model, item)
    return [Shot(path.name, partial(_of_file, model, path)) for path in find_images([item])]


def _of_file(model: Model | nn.Module, path: Path) -> tuple[Tensor, Picture]:
    return _of_picture(model, read_image(path))


def _of_archive(model: Model | nn.Module, path: str | os.PathLike[str]) -> list[Shot]:
    from viztool.atlas.sources import find_source  # not above: its library need not be there
    from viztool.images.bytes import decode

    source = find_source(path)

    def look(entry: Entry) -> tuple[Tensor, Picture]:
        return _of_picture(model, decode(source.read(entry), entry.id))

    return [Shot(entry.id, partial(look, entry)) for entry in sorted(source.entries(), key=lambda entry: entry.id)]


def _of_picture(model: Model | nn.Module, picture: Picture) -> tuple[Tensor, Picture]:
    [(x, [subject])], _ = looks_at(model, picture, "photo")
    return x, subject.view


def _of_tensor(model: Model | nn.Module, x: Tensor) -> Callable[[], tuple[Tensor, Picture]]:
    def look() -> tuple[Tensor, Picture]:
        [(own, [subject])], _ = looks_at(model, x, "tensor")
        return own, subject.view

    return look


def _of_atlas(model: Model | nn.Module, atlas: Atlas, unit: tuple[str, int]) -> list[Shot]:
    from viztool.atlas.crops import Album  # not above: an atlas needs a library of its own

    album = Album(atlas)
    found = []
    for name, *_ in atlas[unit[0]][unit[1]].top:
        picture = album.photo(name)
        if picture is not None:
            found.append(Shot(name, partial(_of_picture, model, picture)))
    if not found:
        raise ViztoolError(f"none of the photos of {atlas.folder} can be read; they are not where they were")
    return found


@dataclass(frozen=True)
class Best:
    """Of each channel of a layer, (C,): its largest value on any photo, on which, and where: (C, 2)."""

    value: npt.NDArray[np.float32]
    photo: npt.NDArray[np.int64]
    place: npt.NDArray[np.int64]


@dataclass
class Glance:
    """What was seen in one look at each photo, by layer.

    highest: (n, C), the spatial maxima; places: (n, C, 2), where; means: (n, C), spatial means; others: (n, C, t), the
    tokens that are no place. failed: what could not be read, in words.
    """

    shots: list[Shot] = field(default_factory=list)
    highest: dict[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    places: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    means: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    others: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    def best(self, layer: str) -> Best:
        """Of each channel of a layer."""
        photo = self.highest[layer].argmax(0)
        channels = np.arange(len(photo))
        return Best(self.highest[layer][photo, channels], photo, self.places[layer][photo, channels])

    def of(self, chosen: Sequence[int]) -> Glance:
        """The same of some photos alone."""
        at = list(chosen)
        return Glance(
            [self.shots[one] for one in at],
            {name: values[at] for name, values in self.highest.items()},
            {name: values[at] for name, values in self.places.items()},
            {name: values[at] for name, values in self.means.items()},
            {name: values[at] for name, values in self.others.items()},
            self.failed,
        )


def glance(net: nn.Module, given: Sequence[Shot], sites: Mapping[str, Site]) -> Glance:
    """One forward for each photo, no further than the last of the layers; the network in evaluation mode.

    Raises ViztoolError if none can be read, ModelError for values that are not finite.
    """
    seen = Glance()
    rows: dict[str, list[tuple[Tensor, ...]]] = {name: [] for name in sites}
    once = all(site.calls == 1 for site in sites.values())
    for shot, x in _inputs(given, seen):
        with torch.no_grad(), capture(net, exactly(sites), stop=once, detach=True) as acts:
            net(x.clone())
        for name, site in sites.items():
            maps = site.maps(acts[name])[0].float()
            if not bool(maps.isfinite().all()):
                raise ModelError(f"layer {name!r} puts out values that are not finite on {shot.name}")
            flat = maps.flatten(1)
            value, at = flat.max(1)
            place = torch.stack([at // maps.shape[2], at % maps.shape[2]], 1)
            rows[name].append((value, place, flat.double().mean(1), site.others(acts[name])[0].double()))
        seen.shots.append(shot)
    if not seen.shots:
        raise ViztoolError(f"no photo could be read: {seen.failed[0]}")
    for name, found in rows.items():
        values, places, means, others = zip(*found, strict=True)
        seen.highest[name] = torch.stack(values).cpu().numpy()
        seen.places[name] = torch.stack(places).cpu().numpy()
        seen.means[name] = torch.stack(means).cpu().numpy()
        seen.others[name] = torch.stack(others).cpu().numpy()
    return seen


def _inputs(given: Sequence[Shot], seen: Glance) -> Iterator[tuple[Shot, Tensor]]:
    for shot in given:
        try:
            x, _ = shot.look()
        except ImageError as error:
            seen.failed.append(str(error))
            continue
        yield shot, x
