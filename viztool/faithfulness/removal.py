"""What an image is without some of its pixels: blank, blurred."""

from __future__ import annotations

import torch
from torch import Tensor

from viztool.tensors.blur import gaussian_blur

# Share of the shorter side. Petsiuk et al. blur with 5 px of 224 (1/45), and a network may still know the class: on
# ImageNet photos EfficientNet-Lite0 was left with 0.28 of its probability (0.75 when clear, up to 0.88 on one photo);
# at 1/22 with 0.01. An insertion curve must start from nothing.
_BLUR = 1 / 20


def blank(x: Tensor) -> Tensor:
    """The image without anything in it: zeros, which is the mean colour, as inputs are normalised."""
    return torch.zeros_like(x)


def blurred(x: Tensor) -> Tensor:
    """The image without its details: a Gaussian whose σ is 1/20 of the shorter side. x: (..., H, W)."""
    return gaussian_blur(x, _BLUR)
