"""Small networks to ascend on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import viztool
from viztool.models.model import Model


class Shared(nn.Module):
    """One ReLU for all, in place, and one that is a function."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.second = nn.Conv2d(8, 6, 3, stride=2, padding=1)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.first(x)))
        x = torch.relu(self.second(x))
        return self.head(x.mean((2, 3)))


def wrapped(net: nn.Module, channels: int = 3, size: int = 24) -> Model:
    """The network, fed with pictures minus a half."""
    return viztool.wrap_model(net.eval(), size=size, mean=(0.5,) * channels, std=(1.0,) * channels)


def shared(channels: int = 3) -> Model:
    """`Shared` with batch-norm statistics that are worth folding."""
    torch.manual_seed(0)
    net = Shared(channels)
    nn.init.uniform_(net.norm.running_mean, -0.2, 0.2)
    nn.init.uniform_(net.norm.running_var, 0.5, 2.0)
    return wrapped(net, channels)


def linear(channels: int = 3, side: int = 16) -> tuple[Model, Tensor]:
    """A network that is one linear filter as large as the picture, and that filter (C, side, side)."""
    torch.manual_seed(1)
    conv = nn.Conv2d(channels, 1, side, bias=False)
    return wrapped(nn.Sequential(conv), channels, side), conv.weight.detach()[0]


def shared_net() -> nn.Module:
    """For commands, which build a network by name."""
    return shared().net


class Sleeping(nn.Module):
    """A ReLU that no picture near grey wakes up."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3, padding=1)
        self.awake = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.awake(self.conv(x))


def sleeping_net() -> nn.Module:
    """For commands."""
    net = Sleeping()
    nn.init.constant_(net.conv.bias, -4.0)
    nn.init.constant_(net.conv.weight, 0.3)
    return net
