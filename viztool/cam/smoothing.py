"""Several views of one image, and several maps made one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod

import torch
from torch import Tensor
from torch.nn import functional as F

from viztool.errors import ViztoolError

Back = Callable[[Tensor], Tensor]
"""From a map of the view to a map of the image."""


def views(x: Tensor, flips: bool, scales: Sequence[float]) -> Iterator[tuple[Tensor, Back]]:
    """The images as they are, then each other scale, and each of these mirrored left to right."""
    for scale in dict.fromkeys((1.0, *scales)):
        if not scale > 0:
            raise ViztoolError(f"a scale of {scale} leaves nothing of the image; scales are like 0.75, 1.25, 1.5")
        size = [max(1, round(side * scale)) for side in x.shape[-2:]]
        scaled = x if scale == 1 else F.interpolate(x, size, mode="bilinear", antialias=True)
        yield scaled, _as_it_is
        if flips:
            yield scaled.flip(-1), _mirrored


def _as_it_is(maps: Tensor) -> Tensor:
    return maps


def _mirrored(maps: Tensor) -> Tensor:
    return maps.flip(-1)


def fuse(maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """The mean of maps (N, h, w) of any size, each divided by its own largest absolute value, at this size.

    A map that is zero everywhere stays so, and counts.
    """
    shares = []
    for each in maps:
        limit = each.abs().amax((1, 2), keepdim=True)
        share = torch.where(limit > 0, each / limit, 0)
        shares.append(F.interpolate(share[:, None], size, mode="bilinear", antialias=True)[:, 0])
    return torch.stack(shares).mean(0)


def largest(maps: Sequence[Tensor]) -> tuple[int, int]:
    """(h, w) of the largest of maps (N, h, w)."""
    return max(((each.shape[1], each.shape[2]) for each in maps), key=prod)
