"""Where the picture is in an activation: (N, C, H, W), channels last, or tokens."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, log, log1p, prod

from torch import Tensor

from viztool.tensors.size import Size, distortion

_PADDED = log(1.25)
"""Padding and rounding may distort maps by this much, a small map by one more of its cells. If they are farther
from the picture's proportions, the network has stretched it itself (SSD to a square), and they tell nothing."""

MOST_PREFIX_TOKENS = 16
"""Class, distillation and register tokens stand before the patches."""


@dataclass(frozen=True, eq=False)
class Layout:
    """What is known of an activation beside its shape.

    channels: the axis of the channels, 1 or -1; None where the other axes are no picture's sides.
    grid: of tokens, (H, W) of the patches; None where their number has to tell.
    order: of tokens, the place (row · W + column) of each patch; None where they stand row by row.
    """

    channels: int | None
    grid: Size | None = None
    order: Tensor | None = None


SECOND = Layout(1)
LAST = Layout(-1)
NO_MAP = Layout(None)


def to_maps(activation: Tensor, batch: int, input_size: Size, layout: Layout | None = None) -> Tensor | None:
    """The activation as maps (N, C, H, W), a view unless its tokens are in another order; None if it holds no map.

    activation: (N, C, H, W); (N, H, W, C); or tokens (N, T, D) with up to 16 others before them. batch,
    input_size: N and (H, W) of the network's input. layout: what its layer says of it. Where that says nothing
    the shape decides: the map's sides are in proportion to the input's, which tells channels from sides; where
    both readings fit, or neither, the channels come second.
    """
    maps = to_channels(activation, batch, input_size, layout)
    if maps is None or layout is None or layout.order is None or len(layout.order) != prod(maps.shape[2:]):
        return maps
    return maps.flatten(2).index_select(2, layout.order.argsort().to(maps.device)).view(maps.shape)


def to_channels(activation: Tensor, batch: int, input_size: Size, layout: Layout | None = None) -> Tensor | None:
    """As `to_maps`, but always in the memory of the activation: for what is done to whole channels.

    The places in it are the map's, in the order in which the layer has them.
    """
    shape = tuple(activation.shape)
    size = map_size(shape, batch, input_size, layout)
    if size is None:
        return None
    if len(shape) == 3:
        tokens = activation if layout is not None and layout.channels == 1 else activation.transpose(1, 2)
        return tokens[..., tokens.shape[2] - size[0] * size[1] :].view(*tokens.shape[:2], *size)
    return activation if _channels_second(shape, input_size, layout) else activation.permute(0, 3, 1, 2)


def map_size(shape: tuple[int, ...], batch: int, input_size: Size, layout: Layout | None = None) -> Size | None:
    """(H, W) of the maps in an activation of this shape, or None; see `to_maps`."""
    if not shape or shape[0] != batch or (layout is not None and layout.channels is None):
        return None
    if len(shape) == 4:
        return (shape[2], shape[3]) if _channels_second(shape, input_size, layout) else (shape[1], shape[2])
    if len(shape) == 3:
        tokens = shape[2 if layout is not None and layout.channels == 1 else 1]
        if layout is not None and layout.grid is not None and 0 <= tokens - prod(layout.grid) <= MOST_PREFIX_TOKENS:
            return layout.grid
        return _token_grid(tokens, input_size)
    return None


def fits(sides: Size, input_size: Size) -> bool:
    """Whether maps with these sides are the input's, made smaller, but for padding and rounding."""
    return min(sides) > 0 and distortion(sides, input_size) <= _PADDED + log1p(1 / min(sides))


def _channels_second(shape: tuple[int, ...], input_size: Size, layout: Layout | None) -> bool:
    if layout is not None:
        return layout.channels == 1
    as_second, as_last = (shape[2], shape[3]), (shape[1], shape[2])
    return distortion(as_second, input_size) <= distortion(as_last, input_size) or not fits(as_last, input_size)


@lru_cache(maxsize=256)
def _token_grid(tokens: int, input_size: Size) -> Size | None:
    """The grid of square patches that makes this many tokens, with the fewest others before it.

    Grids that fit the picture come first: with a rest at the border there are so many that with a few
    other tokens nearly every number can be had.
    """
    for whole in (True, False):
        grids = _grids(input_size, whole)
        for prefix in range(min(MOST_PREFIX_TOKENS, tokens - 1) + 1):
            if tokens - prefix in grids:
                return grids[tokens - prefix]
    return None


def _grids(input_size: Size, whole: bool) -> dict[int, Size]:
    """(H, W) by H × W of the grids of square patches that fit the picture, or that pad it or leave a rest."""
    h, w = input_size
    patches = [patch for patch in range(1, max(h, w) + 1) if (h % patch == w % patch == 0) == whole]
    padded = [(ceil(h / patch), ceil(w / patch)) for patch in patches]
    cut = [(h // patch, w // patch) for patch in patches]
    return {rows * columns: (rows, columns) for rows, columns in padded + cut}
