"""Brighten a spot of the input: where a layer's maps are maps, they change most at that spot."""

from __future__ import annotations

import torch
from torch import Tensor

SPOTS = ((0.2, 0.3), (0.75, 0.2), (0.35, 0.8), (0.8, 0.7))
"""(row, column) of their middles, as shares of the picture."""


def spotted(size: tuple[int, int], channels: int = 3) -> Tensor:
    """A picture of noise, followed by the same with each of the spots. (1 + spots, channels, H, W)."""
    h, w = size
    plain = torch.randn(1, channels, h, w, generator=torch.Generator().manual_seed(0)) * 0.3
    pictures = [plain]
    for row, column in SPOTS:
        bright = plain.clone()
        half = max(4, min(h, w) // 28)
        top, left = int(row * h), int(column * w)
        bright[:, :, top - half : top + half, left - half : left + half] += 3
        pictures.append(bright)
    return torch.cat(pictures)


def found(maps: Tensor) -> int:
    """At how many of the spots the maps of `spotted` pictures, (1 + spots, C, h, w), change most at the spot."""
    change = (maps[1:] - maps[:1]).float().abs().sum(1)
    h, w = change.shape[1:]
    rows, columns = ((torch.arange(side) + 0.5) / side for side in (h, w))
    count = 0
    for each, (row, column) in zip(change, SPOTS, strict=True):
        near = ((rows - row).abs() <= max(0.12, 1.6 / h))[:, None] & ((columns - column).abs() <= max(0.12, 1.6 / w))
        count += bool(each[near].max() >= 0.7 * each.max() > 0)
    return count


def captured(net: torch.nn.Module, layers: str | list[str], size: tuple[int, int]) -> dict[str, Tensor]:
    from viztool.hooks import capture

    with torch.no_grad(), capture(net.eval(), layers, maps=True) as acts:
        net(spotted(size))
    return {name: acts[name] for name in acts}
