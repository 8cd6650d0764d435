"""What a network of one's own expects of its input, as far as the network itself can tell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass, replace
from typing import Any

from torch import nn

from viztool.errors import ModelError
from viztool.models.preprocess import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Preprocessing,
    check_channel_values,
    check_size,
)

_MANY = 16  # no sensor has so many bands that a photo tool should take a wide layer for the first one


def own_preprocessing(
    net: nn.Module,
    size: int | Sequence[int] | None = None,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
) -> Preprocessing:
    """Preprocessing for a network that came without any: what is given, what it says itself, or the usual.

    Raises ModelError for a wrong size, and for a mean or std that does not fit the network's channels.
    """
    config = _config(net)
    if config is not None:
        sides = check_size(size if size is not None else _built_size(net) or config["input_size"][1:])
        known = _timm_preprocessing({**config, "input_size": (_built_channels(net, config), *sides)})
    else:
        sides = check_size(224 if size is None else size)
        channels = _input_channels(net, sides)
        rgb = channels == 3
        known = Preprocessing(
            size=sides,
            mean=IMAGENET_MEAN if rgb else (0.0,) * channels,
            std=IMAGENET_STD if rgb else (1.0,) * channels,
            channels=channels,
            resize=sides,
            assumed=True,
        )
    return override(known, mean, std)


def override(
    known: Preprocessing, mean: float | Sequence[float] | None, std: float | Sequence[float] | None
) -> Preprocessing:
    """`known` with another mean and std, where given; ModelError if they do not fit its channels."""
    if mean is not None and std is not None:
        known = replace(known, assumed=False)
    if mean is not None:
        known = replace(known, mean=check_channel_values(mean, known.channels, "mean"))
    if std is not None:
        known = replace(known, std=check_channel_values(std, known.channels, "std"))
    return known


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
