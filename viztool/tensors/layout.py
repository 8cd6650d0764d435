"""Where the picture is in an activation: (N, C, H, W), channels last, or tokens."""

from __future__ import annotations

from functools import lru_cache
from math import ceil, inf, log, log1p

from torch import Tensor

Size = tuple[int, int]

_PADDED = log(1.25)
"""Padding and rounding may distort maps by this much, a small map by one more of its cells. If they are farther
from the picture's proportions, the network has stretched it itself (SSD to a square), and they tell nothing."""

_MOST_PREFIX_TOKENS = 16  # class, distillation and register tokens stand before the patches


def to_maps(activation: Tensor, batch: int, input_size: Size) -> Tensor | None:
    """The activation as maps (N, C, H, W), a view where that is possible; None if it holds no map.

    activation: (N, C, H, W); (N, H, W, C); or tokens (N, T, D), row by row, with up to 16 others before
    them. batch, input_size: N and (H, W) of the network's input, to which the map's sides are in
    proportion: that tells channels from sides. Where both readings fit, or neither, the channels come second.
    """
    shape = tuple(activation.shape)
    size = map_size(shape, batch, input_size)
    if size is None:
        return None
    if len(shape) == 3:
        h, w = size
        return activation[:, shape[1] - h * w :].transpose(1, 2).view(batch, shape[2], h, w)
    return activation if _channels_second(shape, input_size) else activation.permute(0, 3, 1, 2)


def map_size(shape: tuple[int, ...], batch: int, input_size: Size) -> Size | None:
    """(H, W) of the maps in an activation of this shape, or None; see `to_maps`."""
    if not shape or shape[0] != batch:
        return None
    if len(shape) == 4:
        return (shape[2], shape[3]) if _channels_second(shape, input_size) else (shape[1], shape[2])
    if len(shape) == 3:
        return _token_grid(shape[1], input_size)
    return None


def _channels_second(shape: tuple[int, ...], input_size: Size) -> bool:
    as_second, as_last = distortion((shape[2], shape[3]), input_size), distortion((shape[1], shape[2]), input_size)
    return as_second <= as_last or as_last > _PADDED + log1p(1 / min(shape[1], shape[2]))


def distortion(sides: Size, input_size: Size) -> float:
    """How far the proportions of `sides` are from those of the input: |log ratio|."""
    if min(sides) == 0:
        return inf
    return abs(log(sides[0] / sides[1]) - log(input_size[0] / input_size[1]))


@lru_cache(maxsize=256)
def _token_grid(tokens: int, input_size: Size) -> Size | None:
    """The grid of square patches that makes this many tokens, with the fewest others before it.

    Grids that fit the picture come first: with a rest at the border there are so many that with a few
    other tokens nearly every number can be had.
    """
    for fits in (True, False):
        grids = _grids(input_size, fits)
        for prefix in range(min(_MOST_PREFIX_TOKENS, tokens - 1) + 1):
            if tokens - prefix in grids:
                return grids[tokens - prefix]
    return None


def _grids(input_size: Size, fits: bool) -> dict[int, Size]:
    """(H, W) by H × W of the grids of square patches that fit the picture, or that pad it or leave a rest."""
    h, w = input_size
    patches = [patch for patch in range(1, max(h, w) + 1) if (h % patch == w % patch == 0) == fits]
    padded = [(ceil(h / patch), ceil(w / patch)) for patch in patches]
    cut = [(h // patch, w // patch) for patch in patches]
    return {rows * columns: (rows, columns) for rows, columns in padded + cut}
