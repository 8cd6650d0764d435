"""Networks whose circuits are known, and an oracle that rebuilds a network and runs it whole."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class Replaced(nn.Module):
    """A layer some of whose channels put out something else."""

    def __init__(self, layer: nn.Module, channels: list[int], values: Tensor) -> None:
        super().__init__()
        self.layer, self.channels, self.values = layer, channels, values

    def forward(self, *args: object, **kwargs: object) -> Tensor:
        out = self.layer(*args, **kwargs).clone()
        for channel in self.channels:
            out[:, channel] = self.values[channel]
        return out


def rebuilt(net: nn.Module, name: str, channels: list[int], values: Tensor) -> nn.Module:
    """A copy of the network in which a layer's channels are replaced by values, (C,) or (C, h, w)."""
    private = copy.deepcopy(net).eval()
    path, _, last = name.rpartition(".")
    owner = private.get_submodule(path)
    setattr(owner, last, Replaced(getattr(owner, last), channels, values))
    return private


@torch.no_grad()
def outputs(net: nn.Module, x: Tensor, name: str) -> Tensor:
    """What a layer puts out, by a plain hook."""
    found: list[Tensor] = []
    layer = net.get_submodule(name)
    handle = layer.register_forward_hook(lambda module, args, out: found.append(out.detach().clone()))
    net(x.clone())
    handle.remove()
    return found[-1]


def slow_effect(
    net: nn.Module, photos: Tensor, source: str, channels: list[int], values: Tensor, target: str, channel: int
) -> Tensor:
    """(photos,): before − after at the place of the unit's maximum; both networks run whole, photo by photo.

    values: (C,), or (photos, C, h, w).
    """
    found = []
    for at, photo in enumerate(photos):
        x = photo[None]
        before = outputs(net.eval(), x, target)[0, channel]
        changed = rebuilt(net, source, channels, values if values.dim() == 1 else values[at])
        after = outputs(changed, x, target)[0, channel]
        place = before.argmax()
        found.append(before.flatten()[place] - after.flatten()[place])
    return torch.stack(found)


class BothEdges(nn.Module):
    """An AND of two edge detectors, of a vertical and a horizontal one, among others that it does not use.

    edges: vertical, horizontal, vertical the other way, plain brightness. both: unit 0 fires where the first two do,
    unit 1 where the third does.
    """

    def __init__(self) -> None:
        super().__init__()
        self.edges = nn.Conv2d(1, 4, 3, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.both = nn.Conv2d(4, 2, 1)
        self.fires = nn.ReLU()
        self.head = nn.Linear(2, 3, bias=False)
        kernel = torch.tensor([[-1.0, 0.0, 1.0]] * 3)
        with torch.no_grad():
            self.edges.weight.copy_(torch.stack([kernel, kernel.T, -kernel, torch.ones(3, 3) / 9])[:, None])
            self.both.weight.zero_()
            self.both.weight[0, :2, 0, 0] = 1
            self.both.weight[1, 2, 0, 0] = 1
            self.both.bias.copy_(torch.tensor([-3.5, 0.0]))
            self.head.weight.copy_(torch.tensor([[2.0, 0.0], [-1.0, 1.0], [0.0, 3.0]]))

    def forward(self, x: Tensor) -> Tensor:
        maps = self.fires(self.both(self.relu(self.edges(x))))
        return self.head(maps.amax((2, 3)))


def corner() -> Tensor:
    """(1, 1, 9, 9): bright in its lower right part: at the corner both edges meet, and each has a response of 2."""
    x = torch.zeros(1, 1, 9, 9)
    x[..., 4:, 4:] = 1
    return x
