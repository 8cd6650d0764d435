"""Four small architectures, and the places where a fault can be put into each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

SIDE, CLASSES, WIDTH = 12, 8, 16


@dataclass(frozen=True)
class Slot:
    """A place inside: the layer with weights, the one whose biases shift what comes next, and the activation."""

    weights: str
    shift: str
    activation: str


class Block(nn.Module):
    """A residual block without normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.act = nn.ReLU()
        self.conv2 = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        inner: Tensor = self.conv2(self.act(self.conv1(x)))
        return x + 0.5 * inner


class Attend(nn.Module):
    """A transformer's block, normalised before its parts."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 2 * width)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        inner: Tensor = self.fc2(self.act(self.fc1(self.norm2(x))))
        return x + inner


class Tokens(nn.Module):
    """Patches of a picture as tokens, with their places."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.project = nn.Conv2d(3, width, 3, stride=3)
        self.places = nn.Parameter(0.02 * torch.randn(1, (SIDE // 3) ** 2, width))

    def forward(self, x: Tensor) -> Tensor:
        patches: Tensor = self.project(x)
        return patches.flatten(2).transpose(1, 2) + self.places


class Mean(nn.Module):
    """Over tokens."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


def plain() -> tuple[nn.Module, list[Slot]]:
    """Six convolutions, each with a ReLU."""
    net = nn.Sequential()
    for at in range(6):
        net.add_module(f"conv{at}", nn.Conv2d(3 if at == 0 else WIDTH, WIDTH, 3, padding=1, stride=2 if at == 2 else 1))
        net.add_module(f"act{at}", nn.ReLU())
    _head(net)
    return _initialised(net), [Slot(f"conv{at}", f"conv{at}", f"act{at}") for at in range(1, 5)]


def residual() -> tuple[nn.Module, list[Slot]]:
    """Four residual blocks, without normalisation."""
    net = nn.Sequential()
    net.add_module("stem", nn.Conv2d(3, WIDTH, 3, padding=1))
    for at in range(4):
        net.add_module(f"block{at}", Block())
    _head(net)
    return _initialised(net), [Slot(f"block{at}.conv1", f"block{at}.conv1", f"block{at}.act") for at in range(4)]


def normalised() -> tuple[nn.Module, list[Slot]]:
    """Five convolutions, each with a BatchNorm and a ReLU."""
    net = nn.Sequential()
    for at in range(5):
        net.add_module(f"conv{at}", nn.Conv2d(3 if at == 0 else WIDTH, WIDTH, 3, padding=1, bias=False))
        net.add_module(f"norm{at}", nn.BatchNorm2d(WIDTH))
        net.add_module(f"act{at}", nn.ReLU())
    _head(net)
    return _initialised(net), [Slot(f"conv{at}", f"norm{at}", f"act{at}") for at in range(1, 4)]


def transformer() -> tuple[nn.Module, list[Slot]]:
    """Three blocks of attention over 16 patches."""
    net = nn.Sequential()
    net.add_module("tokens", Tokens())
    for at in range(3):
        net.add_module(f"block{at}", Attend())
    net.add_module("norm", nn.LayerNorm(32))
    net.add_module("mean", Mean())
    net.add_module("head", nn.Linear(32, CLASSES))
    return net, [Slot(f"block{at}.fc1", f"block{at}.fc1", f"block{at}.act") for at in range(3)]


ARCHITECTURES: dict[str, Callable[[], tuple[nn.Module, list[Slot]]]] = {
    "plain": plain,
    "residual": residual,
    "BatchNorm": normalised,
    "transformer": transformer,
}


def _head(net: nn.Sequential) -> None:
    net.add_module("pool", nn.AdaptiveAvgPool2d(2))
    net.add_module("flat", nn.Flatten())
    net.add_module("head", nn.Linear(4 * WIDTH, CLASSES))


def _initialised(net: nn.Module) -> nn.Module:
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return net


class Data:
    """Batches of noisy pictures of a few classes."""

    def __init__(self, seed: int, batch: int = 32) -> None:
        self._random = torch.Generator().manual_seed(1000 + seed)
        self._batch = batch
        self._patterns = torch.randn(CLASSES, 3, SIDE, SIDE, generator=self._random)

    def __call__(self) -> tuple[Tensor, Tensor]:
        labels = torch.randint(CLASSES, (self._batch,), generator=self._random)
        noise = torch.randn(self._batch, 3, SIDE, SIDE, generator=self._random)
        return 0.6 * self._patterns[labels] + 0.8 * noise, labels
