"""From a photo to what the network gets: resize, crop, normalise, as its weights were trained to expect."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from viztool.errors import ModelError, SettingError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's "L"

# A resized photo is cropped; one so long that its resized form would pass this is cut to its middle first.
_MAX_PIXELS = 2**25
# The same for photos that are not cropped: the network would meet every pixel of them.
_MAX_ASPECT = 8.0

Photo = NDArray[np.uint8]
Window = tuple[int, int, int, int]


@dataclass(frozen=True)
class Preprocessing:
    """How a photo becomes the network's input.

    size: (h, w) of the input; a network that takes photos whole (`crop` off) gets them in their own
    shape, and `size` is then the nominal one. mean, std: one value a channel.
    channels: the network's input channels. resize: (h, w) to scale to, or None to keep the photo's
    pixels. fit: "cover" (the shorter side fills), "squash" (both sides, whatever the photo's shape) or
    "inside" (the longer side fits). crop: cut the centre out, filling with `fill` (RGB, 0 to 255)
    where the photo is smaller. interpolation: Pillow's name of it in lower case. antialias: off means
    plain sampling, also when shrinking. frames: repeat the photo so often along time, for video
    networks. assumed: mean and std are a guess. channel_order: "rgb" or "bgr", of the network's
    input. value_range: what white is before mean and std are applied, 1 or 255; these are on that scale, in
    that order.
    """

    size: tuple[int, int]
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    channels: int = 3
    resize: tuple[int, int] | None = None
    fit: str = "cover"
    crop: bool = True
    interpolation: str = "bilinear"
    antialias: bool = True
    fill: tuple[int, int, int] = (0, 0, 0)
    frames: int | None = None
    assumed: bool = False
    channel_order: str = "rgb"
    value_range: float = 1.0

    def at_size(self, size: tuple[int, int]) -> Preprocessing:
        """The same, for a network that gets `size` (h, w): the share of the photo that it sees stays."""
        if not self.crop or self.resize is None:
            return replace(self, size=size, resize=size, crop=True)
        h, w = (math.floor(new * full / old) for new, full, old in zip(size, self.resize, self.size, strict=True))
        return replace(self, size=size, resize=(h, w))

    def pixels(self, photo: Photo) -> Photo:
        """The photo as the network sees it, before normalisation: uint8 (h, w, C), C = 1 (grey) or 3 (RGB)."""
        self.require_photo_channels()
        top, left, bottom, right = self._middle(photo.shape[:2])
        image = Image.fromarray(photo[top:bottom, left:right])
        if self.channels == 1:
            image = image.convert("L")
        scaled = self._scaled((bottom - top, right - left))
        image = _resize(image, scaled, self.interpolation, self.antialias)
        if self.crop:
            image = _cut(image, self._window(scaled), self.fill)
        return np.atleast_3d(np.asarray(image))

    def box(self, shape: Sequence[int]) -> tuple[float, float, float, float]:
        """The part of a photo of `shape` (H, W, ...) that the network sees: top, left, bottom, right.

        In photo pixels; beyond the photo's edges where the input is padded.
        """
        top, left, bottom, right = self._middle(shape)
        height, width = bottom - top, right - left
        scaled = self._scaled((height, width))
        y0, x0, y1, x1 = self._window(scaled) if self.crop else (0, 0, *scaled)
        down, across = height / scaled[0], width / scaled[1]
        return top + y0 * down, left + x0 * across, top + y1 * down, left + x1 * across

    def normalize(self, x: Tensor) -> Tensor:
        """RGB in [0, 1], (N, 3, h, w), to the network's input range: (N, C, h, w), (N, C, frames, h, w) for video.

        Differentiable; keeps device and dtype. One-channel networks get the luma.
        """
        self.require_photo_channels()
        if x.ndim != 4 or x.shape[1] != 3:
            raise ModelError(f"normalize expects RGB of the shape (N, 3, h, w), got {tuple(x.shape)}")
        if self.channels == 1:
            x = (x * x.new_tensor(LUMA).view(3, 1, 1)).sum(1, keepdim=True)
        return self.standardize(x)

    def tensor(self, pixels: Photo) -> Tensor:
        """What `pixels` gave, normalised: float32 (1, C, h, w), (1, C, frames, h, w) for video."""
        x = torch.tensor(pixels).permute(2, 0, 1).to(torch.float32) / 255
        return self.standardize(x[None])

    def describe(self) -> str:
        """One readable line, such as "resize 256 bicubic, crop 224, mean 0.5, std 0.5"."""
        parts = []
        if self.resize is None:
            parts.append("photo at its own size")
        else:
            verb = {"cover": "resize", "squash": "resize to", "inside": "resize into"}[self.fit]
            side = _side(self.resize) if self.fit == "cover" else f"{self.resize[0]} × {self.resize[1]}"
            parts.append(f"{verb} {side} {self.interpolation}")
        if self.crop:
            parts.append(f"crop {_side(self.size)}")
        else:
            parts.append("no crop")
        if self.channels == 1:
            parts.append("grey")
        if self.channel_order != "rgb":
            parts.append(self.channel_order.upper())
        if self.value_range != 1:
            parts.append(f"0 to {self.value_range:g}")
        parts += [f"mean {_values(self.mean)}", f"std {_values(self.std)}"]
        if self.frames is not None:
            parts.append(f"{self.frames} equal frames")
        return ", ".join(parts) + (" (mean and std assumed)" if self.assumed else "")

    def require_photo_channels(self) -> None:
        """Raise ModelError if the network takes something else than colour or grey photos."""
        if self.channels not in (1, 3):
            raise ModelError(
                f"the network takes {self.channels} channels, and a photo gives 3, or 1 in grey: pass the network "
                f"itself and an already normalised tensor (N, {self.channels}, H, W)"
            )

    def standardize(self, x: Tensor) -> Tensor:
        """RGB, or grey for a one-channel network, in [0, 1], (N, C, h, w), to the network's input range."""
        if self.channel_order == "bgr":
            x = x.flip(1)
        x = x * self.value_range
        mean = x.new_tensor(self.mean).view(-1, 1, 1)
        std = x.new_tensor(self.std).view(-1, 1, 1)
        x = (x - mean) / std
        return x if self.frames is None else x.unsqueeze(2).repeat(1, 1, self.frames, 1, 1)

    def _scaled(self, shape: Sequence[int]) -> tuple[int, int]:
        """(h, w) of the photo after resizing, rounded as torchvision and timm do."""
        height, width = shape
        if self.resize is None:
            return height, width
        if self.fit == "squash":
            return self.resize
        if self.fit == "cover" and self.resize[0] == self.resize[1]:
            short = self.resize[0]
            long = int(short * max(height, width) / min(height, width))
            return (short, long) if height <= width else (long, short)
        pick = min if self.fit == "cover" else max
        ratio = pick(height / self.resize[0], width / self.resize[1])
        return max(1, round(height / ratio)), max(1, round(width / ratio))

    def _window(self, scaled: tuple[int, int]) -> Window:
        """Top, left, bottom, right of the centre crop in a resized photo; negative where it is padded."""
        (h, w), (height, width) = self.size, scaled
        top = round((height - h) / 2) if height >= h else -((h - height) // 2)
        left = round((width - w) / 2) if width >= w else -((w - width) // 2)
        return top, left, top + h, left + w

    def _middle(self, shape: Sequence[int]) -> Window:
        """All of the photo, or its middle if it is too long to be resized or looked at whole."""
        height, width = shape[0], shape[1]
        if self.resize is None or not self.crop:
            longest = _MAX_ASPECT
        elif self.fit == "cover":
            longest = _MAX_PIXELS / max(self.resize) ** 2
        else:
            return 0, 0, height, width
        limit = math.ceil(longest * min(height, width))
        top, left = max(0, height - limit) // 2, max(0, width - limit) // 2
        return top, left, height - top, width - left


def check_photo(photo: Any) -> Photo:
    """`photo` itself, if it is uint8 RGB (H, W, 3) and not empty; else ModelError."""
    if isinstance(photo, np.ndarray) and photo.dtype == np.uint8 and photo.ndim == 3 and photo.shape[2] == 3:
        if photo.size:
            return photo
        raise ModelError(f"the photo is empty: its shape is {photo.shape}")
    got = f"{photo.dtype} {tuple(photo.shape)}" if hasattr(photo, "dtype") else type(photo).__name__
    raise ModelError(f"expected a photo as uint8 RGB (H, W, 3), got {got}; viztool.read_image gives one from a file")


_LARGEST = 8192
"""Pixels on a side of a network's input: more fill the memory before anything is said."""


def check_size(size: Any) -> tuple[int, int]:
    """(h, w) from a side or a pair of sides; else SettingError."""
    try:
        h, w = (operator.index(side) for side in (size if hasattr(size, "__len__") else (size, size)))
    except (TypeError, ValueError):
        raise SettingError(f"size must be a whole number of pixels or (height, width), got {size!r}") from None
    if min(h, w) < 1:
        raise SettingError(f"size must be at least 1 × 1, got {h} × {w}")
    if max(h, w) > _LARGEST:
        raise SettingError(f"size must be at most {_LARGEST} × {_LARGEST}, got {h} × {w}")
    return h, w


def check_channel_values(values: Any, channels: int, what: str) -> tuple[float, ...]:
    """One finite number a channel, from one number or as many; else SettingError. `what` is "mean" or "std"."""
    try:
        numbers = tuple(float(value) for value in values) if hasattr(values, "__len__") else (float(values),) * channels
    except (TypeError, ValueError):
        raise SettingError(f"{what} must be a number or one for each channel, got {values!r}") from None
    if len(numbers) != channels:
        raise SettingError(f"{what} has {len(numbers)} values, and the network takes {channels} channels")
    if not all(math.isfinite(number) for number in numbers):
        raise SettingError(f"{what} must be finite, got {_values(numbers)}")
    if what == "std" and min(numbers) <= 0:
        raise SettingError(f"std must be above 0 in every channel, got {_values(numbers)}")
    return numbers


def _resize(image: Image.Image, scaled: tuple[int, int], interpolation: str, antialias: bool) -> Image.Image:
    if antialias:
        return image.resize((scaled[1], scaled[0]), Image.Resampling[interpolation.upper()])
    # Pillow always antialiases; torchvision's video networks were trained on plain sampling.
    x = torch.tensor(np.atleast_3d(np.asarray(image))).permute(2, 0, 1)[None].to(torch.float32)
    x = F.interpolate(x, scaled, mode=interpolation, align_corners=False).round().clamp(0, 255)
    return Image.fromarray(x[0].permute(1, 2, 0).squeeze(-1).to(torch.uint8).numpy())


def _cut(image: Image.Image, window: Window, fill: tuple[int, int, int]) -> Image.Image:
    top, left, bottom, right = window
    inside = (max(0, left), max(0, top), min(image.width, right), min(image.height, bottom))
    part = image.crop(inside)
    if part.size == (right - left, bottom - top):
        return part
    color: Any = fill if image.mode == "RGB" else round(sum(a * b for a, b in zip(LUMA, fill, strict=True)))
    canvas = Image.new(image.mode, (right - left, bottom - top), color)
    canvas.paste(part, (inside[0] - left, inside[1] - top))
    return canvas


def _side(size: tuple[int, int]) -> str:
    return str(size[0]) if size[0] == size[1] else f"{size[0]} × {size[1]}"


def _values(values: Sequence[float]) -> str:
    return " ".join(f"{value:.4g}" for value in (values[:1] if len(set(values)) == 1 else values))
