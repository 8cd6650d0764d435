"""A module of the network is a layer wherever its name is."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from capture_oracle import same
from torch import Tensor, nn

import viztool
from viztool.errors import LayerError
from viztool.hooks import capture
from viztool.hooks.naming import named_layers
from viztool.hooks.replay import Replay
from viztool.hooks.select import as_words, select
from viztool.hooks.tail import TailPass
from viztool.kernels import maximize
from viztool.kernels.objectives import OUTPUT, caricature, channel, diversity, layer_energy, neuron


class Net(nn.Module):
    """A stage called like the word for stages, a shared layer, and a sequence that is a layer itself."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, stride=2), nn.ReLU(inplace=True))
        self.stages = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1, stride=2), nn.ReLU(inplace=True))
        self.again = self.stages[1]
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.again(self.stages(self.stem(x)) - 0.1).mean((2, 3)))


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net().eval()


X = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
SAME: dict[str, Callable[[Net, Any], Any]] = {
    "cam": lambda net, layer: viztool.class_activation_map(net, X, "hirescam", 1, layer).raw,
    "cam of two": lambda net, layer: viztool.class_activation_map(net, X, "gradcam", 1, [layer, net.stem]).raw,
    "features": lambda net, layer: [
        torch.from_numpy(each.layers[0].maps) for each in viztool.feature_maps(net, X, layer)
    ],
    "replay": lambda net, layer: Replay(net, X, layer)(torch.ones(2, 6, 4, 4)),
    "tail": lambda net, layer: list((tail := TailPass(net, X, layer)).gradients(tail.output[:, 0]).values()),
    "capture": lambda net, layer: read(net, layer),
    "kernels": lambda net, layer: torch.from_numpy(
        viztool.visualize_kernels(viztool.wrap_model(net, size=16, mean=0.5, std=0.5), layer, [2], 3, 16)
        .kernels[0]
        .optimum.pixels
    ),
}


def read(net: Net, layer: Any) -> Any:
    with capture(net, layer, grads=True) as acts:
        net(X)[:, 1].sum().backward()
    net.zero_grad()
    assert layer in acts
    assert net.head not in acts
    return [acts[layer], *acts.calls(layer), acts.grad(layer)]


@pytest.mark.parametrize("what", SAME)
def test_it_is_as_by_its_name(net: Net, what: str) -> None:
    by_name = "re:stages" if what in ("cam", "cam of two", "features") else "stages"
    if what == "capture":
        assert same(read(net, net.stages), by_name_of(net))
    else:
        assert same(SAME[what](net, net.stages), SAME[what](net, by_name))


def by_name_of(net: Net) -> Any:
    with capture(net, "re:stages", grads=True) as acts:
        net(X)[:, 1].sum().backward()
    net.zero_grad()
    return [acts["stages"], *acts.calls("stages"), acts.grad("stages")]


def test_modules_and_patterns_together(net: Net) -> None:
    layers = named_layers(net)
    assert select(layers, net.stem) == ["stem"]
    assert select(layers, [net.head, "stem.*", net.stages[0]]) == ["stem.0", "stem.1", "stages.0", "head"]
    assert select(layers, net) == [""]
    assert as_words(layers, [net.stages, "stages", net.again]) == ["re:stages", "stages", "stages.1"]
    with capture(net, [net.stages, "stages"]) as acts:
        net(X)
    assert "stages" in acts


def test_a_module_with_two_names_has_the_first_and_is_read_by_what_was_captured(net: Net) -> None:
    with capture(net, net.again) as by_module:
        net(X)
    assert by_module.layers == ["stages.1"]
    with capture(net, "again") as by_name:
        net(X)
    assert same(by_name[net.again], by_module[net.again])
    assert len(by_name.calls(net.again)) == 2


def test_a_layer_that_was_compiled_is_found_by_its_wrapper(net: Net) -> None:
    wrapped = torch.compile(net.stages, backend="eager")
    net.stages = wrapped
    assert select(named_layers(net), wrapped) == ["stages"]
    assert select(named_layers(net), wrapped._orig_mod) == ["stages"]


@pytest.mark.parametrize("what", SAME)
def test_a_module_of_another_network_is_refused(net: Net, what: str) -> None:
    message = "the Linear that is given as a layer is not part of this network"
    with pytest.raises(LayerError, match=f"^{re.escape(message)}$"):
        SAME[what](net, nn.Linear(1, 1))


def test_what_was_not_captured_is_said_by_its_name(net: Net) -> None:
    with capture(net, net.stem) as acts:
        net(X)
    with pytest.raises(LayerError, match=r"^layer 'head' is not in this capture; captured: stem$"):
        acts[net.head]
    with pytest.raises(LayerError, match=r"^the Linear that is given as a layer is not part of this network$"):
        acts[nn.Linear(1, 1)]


def test_objectives(net: Net) -> None:
    model = viztool.wrap_model(net, size=16, mean=0.5, std=0.5)
    reference = torch.rand(6, 4, 4)
    for make in (
        lambda layer: channel(layer, 2) + 0.5 * neuron(layer, 1),
        layer_energy,
        lambda layer: channel(layer, 1) - diversity(layer),
        lambda layer: caricature(layer, reference),
    ):
        mine, theirs = (maximize(model, make(layer), steps=3, size=16) for layer in (net.stages, "stages"))
        assert np.array_equal(mine.images, theirs.images)
    assert str(channel(net.stages[0], 2)) == "Conv2d #2"
    assert OUTPUT == ""
    with pytest.raises(LayerError, match=r"^layer 'Sequential' has 6 channels, 0 to 5, and no 9$"):
        maximize(model, channel(net.stages, 9), steps=1, size=16)
