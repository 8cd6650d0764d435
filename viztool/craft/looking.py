"""Photos and their crops, as a layer sees them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from viztool.atlas.field import in_photo
from viztool.atlas.sources import Photos, find_source
from viztool.errors import ModelError, SettingError, ViztoolError
from viztool.hooks.capture import capture
from viztool.hooks.layout_memory import layouts_of
from viztool.hooks.naming import unwrap
from viztool.images.bytes import decode
from viztool.models.model import Model
from viztool.models.repeated import at_once
from viztool.models.subject import Subject, looks_at
from viztool.render.colormaps import Picture

Box: TypeAlias = tuple[float, float, float, float]
"""top, left, bottom, right."""

_OVERLAP = 0.75
"""From one crop to the next, in crops: neighbours share at least a quarter."""


@dataclass(frozen=True, eq=False)
class Given:
    """A photo as the network gets it, x (1, C, h, w), with its id and what a person sees of it.

    size: (H, W) of the photo; None of a tensor.
    """

    id: str
    x: Tensor
    subject: Subject
    size: tuple[int, int] | None

    def in_photo(self, box: Box) -> Box:
        """A box of the input in pixels of the photo; of the tensor, where there is no photo."""
        if self.size is None or self.subject.seen is None:
            return box
        return in_photo(box, (self.x.shape[-2], self.x.shape[-1]), self.subject.seen, self.size)

    def cut(self, box: Box) -> Picture:
        """What lies in a box of the input, as the network was given it."""
        height, width = self.subject.view.shape[:2]
        down, across = height / self.x.shape[-2], width / self.x.shape[-1]
        top, left, bottom, right = (round(at * scale) for at, scale in zip(box, (down, across) * 2, strict=True))
        return np.ascontiguousarray(self.subject.view[top : max(bottom, top + 1), left : max(right, left + 1)])


@dataclass(frozen=True, eq=False)
class Seen:
    """What a layer makes of a photo. maps: (C, h, w) of all of it. crops: (k, C), the mean of each crop's own maps.

    boxes: where the crops are, in the input.
    """

    given: Given
    maps: Tensor
    crops: Tensor
    boxes: Sequence[Box]


def given_photos(
    model: Model | nn.Module, photos: Photos | Tensor, label: str | None, failed: list[tuple[str, str]]
) -> Iterator[Given]:
    """The photos one by one, in the order of their ids. What cannot be read is put into `failed`, with why.

    label: only photos with it. Raises ViztoolError if there is none.
    """
    if isinstance(photos, Tensor):
        (x, subjects), *_ = looks_at(model, photos, "tensor")[0]
        width = len(str(max(0, len(x) - 1)))
        yield from (Given(f"{at:0{width}}", x[at : at + 1], subject, None) for at, subject in enumerate(subjects))
        return
    source = find_source(list(photos) if isinstance(photos, np.ndarray) and photos.ndim == 4 else photos)
    entries = sorted(source.entries(), key=lambda entry: entry.id)
    if label is not None:
        known = sorted({entry.label for entry in entries if entry.label})
        entries = [entry for entry in entries if entry.label == label]
        if not entries:
            there = f"; there are {', '.join(known[:5])}" if known else ": they have no labels"
            raise ViztoolError(f"no photo of {source.name} has the label {label!r}{there}")
    for entry in entries:
        try:
            photo = decode(source.read(entry), entry.id)
        except (OSError, ViztoolError) as error:
            failed.append((entry.id, str(error)))
            continue
        ((x, (subject,)),) = looks_at(model, photo, entry.id)[0]
        # Without the photo itself: all of them stay in memory.
        yield Given(entry.id, x, replace(subject, photo=None), (photo.shape[0], photo.shape[1]))


def windows(size: tuple[int, int], share: float) -> list[Box]:
    """Crops whose sides are this share of the input's, evenly from edge to edge."""
    if not 0 < share <= 1:
        raise SettingError(f"crop is {share}; give the side of a crop as a share of the photo's, above 0 and up to 1")
    many = ceil(round((1 - share) / (_OVERLAP * share), 6)) + 1
    spans = []
    for side in size:
        length = max(1, round(share * side))
        starts = np.linspace(0, side - length, many).round().astype(int).tolist()
        spans.append([(start, start + length) for start in dict.fromkeys(starts)])
    return [
        (float(top), float(left), float(bottom), float(right)) for top, bottom in spans[0] for left, right in spans[1]
    ]


def crop(x: Tensor, box: Box) -> Tensor:
    """A part of an input (1, C, h, w), made as large as all of it."""
    top, left, bottom, right = map(int, box)
    return F.interpolate(x[..., top:bottom, left:right].float(), x.shape[-2:], mode="bilinear").to(x.dtype)


def look(model: Model | nn.Module, given: Given, layer: str, share: float) -> Seen:
    """One photo and its crops through the network up to the layer. Raises LayerError if that has no maps."""
    x = given.x
    if x.dim() != 4:
        raise ModelError("concepts are of pictures; this input has a time")
    boxes = windows((x.shape[-2], x.shape[-1]), share)
    whole = len(boxes) == 1
    maps = maps_of(model, x if whole else torch.cat([x, *(crop(x, box) for box in boxes)]), layer)
    return Seen(given, maps[0].clone(), (maps if whole else maps[1:]).mean((2, 3)), boxes)


def maps_of(model: Model | nn.Module, x: Tensor, layer: str) -> Tensor:
    """What the layer puts out for inputs (n, C, h, w), as maps: float32 (n, channels, rows, columns) on the CPU."""
    layouts = layouts_of(net := unwrap(model), x[:1])

    def maps(part: Tensor) -> Tensor:
        found = layouts.maps(layer, _output(net, part, layer))
        if len(found) < len(part):  # the network goes through its images one by one: these are the first one's
            return torch.cat([maps(one) for one in part.split(1)])
        return found.float().cpu()

    return torch.cat([maps(part) for part in x.split(at_once(x.device))])


def _output(net: nn.Module, x: Tensor, layer: str) -> Tensor:
    def run(form: torch.memory_format) -> Tensor:
        with torch.no_grad(), capture(net, layer, stop=True) as acts:
            net(x.clone(memory_format=form))
        output: Tensor = acts[layer]
        return output

    try:
        return run(torch.channels_last)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError:  # a network that takes views of its maps needs them in the usual order
        return run(torch.contiguous_format)
