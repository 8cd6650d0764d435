"""Photos, networks and a plain reckoning for the tests of the atlas."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

import viztool


def photo(seed: int, height: int = 40, width: int = 52) -> np.ndarray:
    """A picture with forms of several sizes: uint8 RGB (height, width, 3)."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3))
    for side in (2, 5, 11):
        small = rng.random((side, side + 1, 3), dtype=np.float32)
        picture += cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC) / 3
    return (picture.clip(0, 1) * 255).astype(np.uint8)


def write_photos(folder: Path, count: int, copies: dict[int, int] | None = None) -> Path:
    """`count` photos of several shapes, in two folders. copies: from a number to that which it is a copy of."""
    for number in range(count):
        own = (copies or {}).get(number, number)
        path = folder / ("dog", "cat", "cat")[number % 3] / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = ((40, 52), (60, 44), (48, 48))[own % 3]
        cv2.imwrite(str(path), photo(own, *shape)[..., ::-1])
    return folder


def small_net() -> nn.Module:
    """Dilated, strided, with a norm and both signs."""
    torch.manual_seed(3)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=2, dilation=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 10, 3, stride=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(10, 4),
    )
    return net.eval()


class OneByOne(nn.Module):
    """Takes many photos, and gives them to the network that it holds one by one."""

    def __init__(self):
        super().__init__()
        self.f = small_net()

    def forward(self, x):
        return torch.cat([self.f(one[None]) for one in x])


SMALL_LAYERS = ("1", "5", "6")


def small_model() -> viztool.Model:
    return viztool.wrap_model(small_net(), size=(32, 36), mean=0.5, std=0.25)


def digests(folder: Path) -> dict[str, str]:
    """sha256 of each table of an atlas."""
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.glob("*.parquet"))}
