"""Brighten a spot of the input: what is drawn as a map must change most at that spot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

import viztool
from viztool.errors import LayerError
from viztool.hooks.layout_memory import following
from viztool.models.catalog import TIMM, Entry
from viztool.tensors.size import Size
from viztool.tensors.tree import tensors_in

SIZES: tuple[Size, ...] = ((192, 256), (256, 160), (226, 200))
"""None of them square; one that no stride divides."""

SPOTS = ((0.2, 0.3), (0.75, 0.2), (0.35, 0.8), (0.8, 0.7))
"""(row, column) of their middles, as shares of the picture."""

SAMPLE = 60
"""Layers besides the stages, evenly over the network."""

SMALLEST = 12
"""Places of a map in which a spot can be told from another one."""


@dataclass
class Spots:
    """What one network showed. wrong: stages, and other layers, whose maps change elsewhere, with their shapes."""

    sizes: list[Size] = field(default_factory=list)
    maps: int = 0
    without: int = 0
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        sizes = ", ".join(f"{h}×{w}" for h, w in self.sizes)
        return f"{self.maps} maps at {sizes}, {self.without} layers without"


def check_spots(entry: Entry, net: nn.Module) -> Spots:
    """The network at each of the sizes that it takes, or else at its own. AssertionError if a map is none."""
    spots = Spots()
    for size in SIZES:
        try:
            _look(_at(entry, net, size), size, spots)
        except LayerError:
            raise
        except Exception:
            continue  # a network of one size
        spots.sizes.append(size)
    if not spots.sizes:
        size = viztool.load_model(entry.name, weights=None).size
        _look(net, size, spots)
        spots.sizes.append(size)
    assert not spots.wrong, f"{len(spots.wrong)} maps are none: {', '.join(spots.wrong[:6])} ({spots})"
    return spots


def _at(entry: Entry, net: nn.Module, size: Size) -> nn.Module:
    """The network for this size of input: some of timm have to be made for it."""
    if entry.source != "timm":
        return net
    import timm

    torch.manual_seed(0)
    try:
        made: nn.Module = timm.create_model(entry.name.removeprefix(TIMM), img_size=size)
    except TypeError:
        return net
    return made.eval()


def _look(net: nn.Module, size: Size, spots: Spots) -> None:
    x = spotted(size)
    with torch.no_grad(), viztool.capture(net, "stages", reduce=lambda _: None) as stages:
        net(x[:1].clone())
    names = [name for name, _ in net.named_modules() if name]
    sample = [f"re:{name.replace('.', '[.]')}" for name in {*names[:: max(1, len(names) // SAMPLE)], *stages.layers}]
    ran: set[str] = set()
    handles = [
        module.register_forward_hook(lambda _module, _args, _output, name=name: ran.add(name))
        for name, module in net.named_modules()
    ]
    try:
        with torch.no_grad():
            net(x[:1].clone())
    finally:
        for handle in handles:
            handle.remove()
    sample = [pattern for pattern in sample if pattern[3:].replace("[.]", ".") in ran]
    with torch.no_grad(), following(net, x) as layouts, viztool.capture(net, sample) as acts:
        net(x.clone())
    for name in acts:
        first = next((tensor for tensor in tensors_in(acts[name]) if tensor.is_floating_point()), None)
        maps = None if first is None else layouts.find(name, first)
        if maps is None or maps.shape[2] * maps.shape[3] < SMALLEST or min(maps.shape[2:]) < 2:
            spots.without += 1
            continue
        spots.maps += 1
        right = sum(at_their_spots(maps))
        if right < (len(SPOTS) / 2 if name in stages else 1):
            spots.wrong.append(f"{name} {tuple(first.shape[1:])} at {size[0]}×{size[1]}")  # type: ignore[union-attr]


def spotted(size: Size) -> Tensor:
    """A picture of noise, followed by the same with each of the spots. (1 + spots, 3, H, W)."""
    h, w = size
    plain = torch.randn(1, 3, h, w, generator=torch.Generator().manual_seed(0)) * 0.3
    pictures = [plain]
    for row, column in SPOTS:
        bright = plain.clone()
        half = max(4, min(h, w) // 28)
        top, left = int(row * h), int(column * w)
        bright[:, :, top - half : top + half, left - half : left + half] += 3
        pictures.append(bright)
    return torch.cat(pictures)


def at_their_spots(maps: Tensor) -> Iterator[bool]:
    """For each spot: whether the maps of `spotted`, (1 + spots, C, h, w), change at it as much as anywhere.

    Nearly as much: kernels of random weights carry it a cell or two away.
    """
    change = (maps[1:] - maps[:1]).float().abs().sum(1)
    h, w = change.shape[1:]
    rows, columns = ((torch.arange(side) + 0.5) / side for side in (h, w))
    for each, (row, column) in zip(change, SPOTS, strict=True):
        near = ((rows - row).abs() <= max(0.12, 1.6 / h))[:, None] & ((columns - column).abs() <= max(0.12, 1.6 / w))
        yield bool(each[near].max() >= 0.7 * each.max())
