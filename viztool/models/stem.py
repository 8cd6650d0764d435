"""What a network of one's own expects of its input, as far as the network itself can tell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass, replace
from typing import Any

from torch import nn

from viztool.errors import ModelError, SettingError
from viztool.models.preprocess import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Preprocessing,
    check_channel_values,
    check_size,
)

RESIZES = ("cover", "squash", "inside")

_MANY = 16  # no sensor has so many bands that a photo tool should take a wide layer for the first one


def own_preprocessing(net: nn.Module, size: int | Sequence[int] | None = None) -> Preprocessing:
    """Preprocessing for a network that came without any: what it says itself, or the usual, at the given size.

    Raises SettingError for a wrong size.
    """
    config = _config(net)
    if config is not None:
        sides = check_size(size if size is not None else _built_size(net) or config["input_size"][1:])
        return _timm_preprocessing({**config, "input_size": (_built_channels(net, config), *sides)})
    sides = check_size(224 if size is None else size)
    channels = _input_channels(net, sides)
    rgb = channels == 3
    return Preprocessing(
        size=sides,
        mean=IMAGENET_MEAN if rgb else (0.0,) * channels,
        std=IMAGENET_STD if rgb else (1.0,) * channels,
        channels=channels,
        resize=sides,
        assumed=True,
    )


@dataclass(frozen=True)
class Changes:
    """What a user says of a network's input, in place of what is known; None says nothing.

    mean, std: one number, or one a channel, on the scale of `value_range` and in `channel_order`. channel_order:
    "rgb" or "bgr". value_range: 1 or 255, what white is before mean and std. resize: "cover" (the shorter side of
    the photo fills the input, the rest is cut off), "squash" (both sides fill it) or "inside" (the longer side
    does, the rest is black).
    """

    mean: float | Sequence[float] | None = None
    std: float | Sequence[float] | None = None
    channel_order: str | None = None
    value_range: float | None = None
    resize: str | None = None

    def of(self, known: Preprocessing) -> Preprocessing:
        """`known` with these changes. Raises SettingError or ModelError for what does not fit."""
        known = self._reordered(known)
        if self.resize is not None:
            known = _resized(known, self.resize)
        if self.mean is not None and self.std is not None:
            known = replace(known, assumed=False)
        if self.mean is not None:
            known = replace(known, mean=check_channel_values(self.mean, known.channels, "mean"))
        if self.std is not None:
            known = replace(known, std=check_channel_values(self.std, known.channels, "std"))
        return known

    def _reordered(self, known: Preprocessing) -> Preprocessing:
        """With the same mean and std in another order and on another scale."""
        order = known.channel_order if self.channel_order is None else self.channel_order.lower()
        if order not in ("rgb", "bgr"):
            raise SettingError(f"channel_order must be rgb or bgr, got {self.channel_order!r}")
        white = known.value_range if self.value_range is None else self.value_range
        if white not in (1, 255):
            raise SettingError(f"value_range must be 1 or 255, what white is to the network, got {white!r}")
        if order != known.channel_order:
            if known.channels != 3:
                raise ModelError(f"the network takes {known.channels} channels, and {order} is an order of 3")
            known = replace(known, channel_order=order, mean=known.mean[::-1], std=known.std[::-1])
        times = white / known.value_range
        mean, std = (tuple(value * times for value in values) for values in (known.mean, known.std))
        return replace(known, value_range=float(white), mean=mean, std=std) if times != 1 else known


def _resized(known: Preprocessing, resize: str) -> Preprocessing:
    """With another way to fill the input: squashed or inside it, all of the photo is seen."""
    if resize not in RESIZES:
        raise SettingError(f"resize must be {', '.join(RESIZES)}, got {resize!r}")
    if not known.crop and known.resize is None:
        raise ModelError("the network takes photos whole and scales them itself: leave resize out")
    if resize == known.fit:
        return known
    return replace(known, fit=resize, resize=known.size, crop=True)


def _config(net: nn.Module) -> Mapping[str, Any] | None:
    config = getattr(net, "pretrained_cfg", None) or getattr(net, "default_cfg", None)
    if is_dataclass(config) and not isinstance(config, type):
        config = asdict(config)
    return config if isinstance(config, Mapping) and "input_size" in config and "mean" in config else None


def _built_size(net: nn.Module) -> Any:
    """(h, w) that a network with a fixed grid was built for; timm's configuration tells that of its weights."""
    return getattr(getattr(net, "patch_embed", None), "img_size", None)


def _built_channels(net: nn.Module, config: Mapping[str, Any]) -> int:
    """The channels that a timm network was built for; its configuration tells those of its weights."""
    weights: int = config["input_size"][0]
    found = getattr(net, "in_chans", None) or _input_channels(net, (0, 0))
    return found if found <= _MANY else weights  # a stem that folds space into depth takes more than the photo has


def _timm_preprocessing(config: Mapping[str, Any]) -> Preprocessing:
    """The evaluation transform of a timm configuration, as `timm.data.create_transform` builds it."""
    channels, *sides = config["input_size"]
    mean, std = tuple(config.get("mean") or IMAGENET_MEAN), tuple(config.get("std") or IMAGENET_STD)
    crop_mode, crop_share = config.get("crop_mode") or "center", config.get("crop_pct") or 0.875
    fits = {"center": "cover", "squash": "squash", "border": "inside"}
    if crop_mode not in fits:
        raise ModelError(f"the network's crop mode is {crop_mode!r}; known are {', '.join(fits)}")
    fill = tuple(round(255 * value) for value in mean) if crop_mode == "border" else (0, 0, 0)
    if len(mean) != channels:  # the configuration keeps the three of its weights
        mean, std = (sum(mean) / len(mean),) * channels, (sum(std) / len(std),) * channels
    return Preprocessing(
        size=(sides[0], sides[1]),
        mean=mean,
        std=std,
        channels=channels,
        resize=(math.floor(sides[0] / crop_share), math.floor(sides[1] / crop_share)),
        fit=fits[crop_mode],
        interpolation=config.get("interpolation") or "bicubic",
        fill=fill,
    )


def _input_channels(net: nn.Module, size: tuple[int, int]) -> int:
    """The channels that the first convolution takes; without one, what the first linear layer has room for."""
    layers = list(net.modules())
    taken = [layer.in_channels for layer in layers if isinstance(layer, (nn.Conv2d, nn.Conv3d))]
    taken = [channels for channels in taken if channels]  # a lazy layer does not know yet
    if taken:
        # Layers come in the order in which they were written: the head may stand before the stem.
        return 3 if taken[0] > _MANY and 3 in taken else taken[0]
    widths = [layer.in_features for layer in layers if isinstance(layer, nn.Linear)]
    return 1 if widths and widths[0] == size[0] * size[1] else 3
