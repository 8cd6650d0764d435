"""Small networks and helpers for the tests of capture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from viztool.errors import LayerError
from viztool.hooks import Activations, capture

GRAD_MODES = [torch.no_grad, torch.enable_grad]


def message_of(block: Callable[[], Any], error: type[Exception] = LayerError) -> str:
    with pytest.raises(error) as caught:
        block()
    return str(caught.value)


class Lambda(nn.Module):
    """A layer that is one function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


class Net(nn.Module):
    """Layers by name, and a forward that uses them as attributes."""

    def __init__(self, run: Callable[[Any, Tensor], Any], **layers: nn.Module) -> None:
        super().__init__()
        self.run = run
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Any:
        return self.run(self, x)


def captured(net: nn.Module, x: Tensor, layers: Any = None, **options: Any) -> Activations:
    with capture(net, layers, **options) as acts:
        net(x)
    return acts


def small() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(2, 1, 3)))
