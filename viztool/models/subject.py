"""What is looked at: a photo or a tensor, as the network gets it and as a person sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from viztool.errors import ModelError
from viztool.hooks.naming import unwrap
from viztool.models.model import Model
from viztool.models.reader import Reader, ending_of, is_zoo
from viztool.render.colormaps import Picture
from viztool.results import Part

Look: TypeAlias = tuple[Tensor, list["Subject"]]
"""An input (N, C, H, W) that the network takes at once, and what each of its N images is."""


@dataclass(frozen=True, repr=False)
class Subject(Part):
    """What was looked at, and with what.

    photo: (H, W, 3), or None if the network was given a tensor. view: (h, w, 3), what the network was
    given of it, in colours. seen: (top, left, bottom, right) of that in the photo. frames: of a tensor with a
    time, (C, T, H, W), all T in colours; the view is the one in the middle.
    """

    source: str
    photo: Picture | None
    view: Picture
    seen: tuple[float, float, float, float] | None
    network: str
    weights: str
    preprocessing: str
    frames: tuple[Picture, ...] = ()

    @property
    def numbers(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "network": self.network,
            "weights": self.weights,
            "preprocessing": self.preprocessing,
            "input": list(self.view.shape[:2]),
        }


def looks_at(
    model: Model | nn.Module, photo: Picture | Sequence[Picture] | Tensor, source: str
) -> tuple[list[Look], bool]:
    """The inputs to run the network on, in its own precision, and whether one result is wanted, not a list.

    photo: uint8 RGB (H, W, 3), or several; or a normalised tensor (N, C, H, W), which a bare network needs.
    Raises ModelError for anything else.
    """
    if isinstance(photo, Tensor):
        if photo.dim() not in (4, 5) or not len(photo):
            raise ModelError(f"a tensor to look at is (N, C, H, W), or (N, C, T, H, W), not {tuple(photo.shape)}")
        return [(photo, [_of_tensor(model, image, source) for image in photo])], len(photo) == 1
    if not isinstance(model, Model):
        raise ModelError("a bare network needs a normalised tensor (N, C, H, W); for a photo, use wrap_model first")
    if not isinstance(photo, (np.ndarray, list, tuple)) or (isinstance(photo, np.ndarray) and photo.ndim < 3):
        got = f"{photo.dtype} {photo.shape}" if isinstance(photo, np.ndarray) else type(photo).__name__
        raise ModelError(f"a photo is uint8 RGB (H, W, 3), or a list of these, not {got}; viztool.read_image gives one")
    photos: list[Picture] = [photo] if isinstance(photo, np.ndarray) and photo.ndim == 3 else list(photo)
    # One by one: networks that take photos whole get each in its own size.
    return [_of_photo(model, each, source) for each in photos], isinstance(photo, np.ndarray) and photo.ndim == 3


def one_batch(
    model: Model | nn.Module, photo: Picture | Sequence[Picture] | Tensor, source: str
) -> tuple[Tensor, tuple[Subject, ...]]:
    """The input (N, C, H, W) that holds all of `looks_at`, and what each image is.

    Raises ModelError as `looks_at` does, and if the network takes photos whole and these are of several sizes.
    """
    looks, _ = looks_at(model, photo, source)
    if not all(x.is_floating_point() for x, _ in looks):
        raise ModelError(
            f"a tensor to look at holds normalised numbers, not {looks[0][0].dtype}: normalise it, or give the photo"
        )
    if len({x.shape[1:] for x, _ in looks}) > 1:
        raise ModelError("photos of several sizes have maps of several sizes here: pass them one by one")
    return torch.cat([x for x, _ in looks]), tuple(subject for _, subjects in looks for subject in subjects)


def reader_of(model: Model | nn.Module, x: Tensor) -> Reader:
    """How the output of a network for `x` is to be read; of a bare one nothing is known but what it shows itself."""
    if isinstance(model, Model):
        return model.reader(x)
    net = unwrap(model)
    return Reader(zoo=is_zoo(net), ending=ending_of(net, x))


def _of_photo(model: Model, photo: Picture, source: str) -> Look:
    x, view = model.preprocess_and_view(photo)
    subject = Subject(
        source=source,
        photo=photo,
        view=view,
        seen=model.crop_box(photo.shape),
        network=model.name,
        weights=model.weights,
        preprocessing=model.preprocessing,
    )
    return x.to(model.dtype), [subject]


def _of_tensor(model: Model | nn.Module, image: Tensor, source: str) -> Subject:
    """image: (C, H, W) or (C, T, H, W). Its colours: the first three channels, stretched to their own range."""
    shown = image.detach().float().nan_to_num()
    shown = shown[:3] if len(shown) >= 3 else shown[:1].expand(3, *shown.shape[1:])
    if isinstance(model, Model) and model.input.channel_order == "bgr":
        shown = shown.flip(0)
    low, high = shown.aminmax()
    colours = ((shown - low) / (high - low).clamp_min(1e-12) * 255).round().byte().movedim(0, -1).cpu().numpy()
    frames = tuple(map(np.ascontiguousarray, colours)) if colours.ndim == 4 else ()
    return Subject(
        source="tensor" if source == "photo" else source,
        photo=None,
        view=frames[len(frames) // 2] if frames else np.ascontiguousarray(colours),
        seen=None,
        network=model.name if isinstance(model, Model) else type(unwrap(model)).__name__,
        weights=model.weights if isinstance(model, Model) else "as given",
        preprocessing="input as given, shown stretched to its own range",
        frames=frames,
    )
