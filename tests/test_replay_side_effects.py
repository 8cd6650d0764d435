"""Layers that say something to one another by other ways than their outputs are replayed right, too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from viztool.hooks.replay import Replay


class Block(nn.Module):
    """Takes a dict, writes to it, and gives it back or not."""

    def __init__(self, name: str, gives: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.name, self.gives = name, gives

    def forward(self, state: dict[str, Tensor]) -> Any:
        state[self.name] = state["x"]
        state["x"] = torch.tanh(self.conv(state["x"]))
        return state if self.gives else None


class ByDict(nn.Module):
    def __init__(self, gives: bool) -> None:
        super().__init__()
        self.one, self.two, self.body = Block("one", gives), Block("two", gives), nn.Conv2d(3, 3, 3, padding=1)
        self.gives = gives

    def tail(self, y: Tensor, one: Tensor, two: Tensor) -> Tensor:
        return (y * one).mean((2, 3)) + two.amax((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        state: Any = {"x": x}
        for block in (self.one, self.two):
            result = block(state)
            state = result if self.gives else state
        return self.tail(self.body(state["x"]), state["one"], state["two"])

    def rest(self, x: Tensor, y: Tensor) -> Tensor:
        return self.tail(y, x, torch.tanh(self.one.conv(x)))


class ByAttribute(nn.Module):
    """A U-Net whose first layer keeps what its last one adds."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.body = Keeping(), nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self.down(x)).tanh() + self.down.kept

    def rest(self, x: Tensor, y: Tensor) -> Tensor:
        return y.tanh() + self.down.conv(x)


class Keeping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        self.kept = self.conv(x)
        return self.kept.relu()


class ByList(nn.Module):
    """Children write to a list that is the network's own."""

    def __init__(self) -> None:
        super().__init__()
        self.skips: list[Tensor] = []
        self.down, self.body = Writing(self.skips), nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(self.down(x))
        return y.tanh() + self.skips.pop()

    def rest(self, x: Tensor, y: Tensor) -> Tensor:
        return y.tanh() + self.down.conv(x)


class Writing(nn.Module):
    def __init__(self, skips: list[Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.hidden = (skips,)  # where nobody looks

    def forward(self, x: Tensor) -> Tensor:
        self.hidden[0].append(self.conv(x))
        return self.hidden[0][-1].relu()


class InPlace(nn.Module):
    """The result of a layer that works in place is not used: what it was given is."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.relu = nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(inplace=True)
        self.body = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        self.relu(h)
        return self.body(h).tanh() * h

    def rest(self, x: Tensor, y: Tensor) -> Tensor:
        return y.tanh() * self.stem(x).relu()


class ByGenerator(nn.Module):
    """A layer puts out a generator, which runs when it is asked."""

    class Parts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x: Tensor) -> Iterator[Tensor]:
            yield self.conv(x)
            yield x

    def __init__(self) -> None:
        super().__init__()
        self.parts, self.body = self.Parts(), nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        one, other = self.parts(x)
        return self.body(one).tanh() * other

    def rest(self, x: Tensor, y: Tensor) -> Tensor:
        return y.tanh() * x


NETWORKS = {
    "dict, given back": lambda: ByDict(True),
    "dict, not given back": lambda: ByDict(False),
    "attribute": ByAttribute,
    "list": ByList,
    "in place": InPlace,
    "generator": ByGenerator,
}


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_a_replay_is_the_networks_own_rest(name: str, batch: int) -> None:
    torch.manual_seed(0)
    net = NETWORKS[name]().eval()
    x = torch.randn(batch, 3, 6, 6)
    rest = Replay(net, x, "body")
    expected = net(x)
    net(torch.randn(5, 3, 6, 6))  # another forward leaves other things behind
    torch.testing.assert_close(rest(rest.activations), expected)
    for times in (1, 3):
        changed = torch.randn(times * batch, 3, 6, 6)
        torch.testing.assert_close(rest(changed), net.rest(x.repeat(times, 1, 1, 1), changed))
    assert not any("forward" in vars(module) for module in net.modules())


def test_a_network_that_draws_is_replayed_as_it_runs() -> None:
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Dropout(0.5), nn.Conv2d(3, 3, 1), nn.Dropout(0.5)).train()
    x = torch.randn(1, 3, 6, 6)
    rest = Replay(net, x, "2")
    changed = torch.randn(2, 3, 6, 6)
    output = rest(changed)
    kept = output != 0
    torch.testing.assert_close(output[kept], 2 * changed[kept])
    assert 0.2 < float(kept.float().mean()) < 0.8


@torch.no_grad()
def test_outputs_that_are_not_finite_are_compared_too() -> None:
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.LogSigmoid())
    net[1].bias.fill_(float("nan"))
    rest = Replay(net, torch.randn(1, 3, 6, 6), "1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.Conv2d, "forward", lambda *_: pytest.fail("only what comes after the layer is to run"))
        assert rest(torch.ones(1, 3, 6, 6)).isfinite().all()
