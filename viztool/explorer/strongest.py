"""The strongest terms of each unit, where kernels are too large to be written down."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from viztool.explorer.sums import Product

LARGEST = 1 << 23
"""Numbers in a kernel, or in lists of terms, that are written on a page: of more, the page has over 20 MB."""
LISTED = 32
_AT_ONCE = 1 << 24
"""Terms that are looked through together."""


@dataclass(frozen=True, eq=False)
class Strongest:
    """The terms of largest size of each unit, strongest first.

    channels: which channels of what is given they come from, (n, C, h, w). terms: kernel times patch, alike.
    """

    channels: Tensor
    terms: Tensor


def fits(product: Product) -> bool:
    """Whether its kernels can be written on a page: all terms follow from them."""
    return product.weight.numel() <= LARGEST


def listed(product: Product, size: tuple[int, int]) -> int:
    """How many terms of each unit are written down instead: 32, if there are so many, and if so many fit."""
    units = _channels(product) * size[0] * size[1]
    return min(LISTED, _fan(product), max(1, LARGEST // units))


def strongest(product: Product, size: tuple[int, int]) -> Strongest:
    """The terms that are written down of the units of a layer whose maps are of this size."""
    count = listed(product, size)
    channels, terms = [], []
    for first, every in _all_terms(product, size):
        order = every.abs().topk(count, 0).indices
        channels.append(first + order)
        terms.append(every.gather(0, order))
    return Strongest(torch.cat(channels, 1), torch.cat(terms, 1))


def _all_terms(product: Product, size: tuple[int, int]) -> Iterator[tuple[int, Tensor]]:
    """For some channels after the other: the first input of their group, and their terms, (inputs, channels, h, w)."""
    fan, outs = _fan(product), _channels(product) // product.groups
    step = max(1, _AT_ONCE // (fan * max(1, size[0] * size[1])))
    for group in range(product.groups):
        first = group * fan
        given = product.given[first : first + fan]
        for at in range(0, outs, step):
            own = slice(group * outs + at, group * outs + min(outs, at + step))
            if product.transposed:
                weight = product.weight[first : first + fan, at : at + step]
            else:
                weight = product.weight[own].transpose(0, 1)
            count = weight.shape[1]
            # Each input in a group of its own: what there is of sums are then single terms.
            apart = replace(product, given=given, weight=weight.flatten(0, 1)[:, None], groups=fan)
            if product.transposed:
                apart = replace(apart, weight=weight.contiguous())
            yield first, apart.total(size).view(fan, count, *size)


def _fan(product: Product) -> int:
    return len(product.given) // product.groups


def _channels(product: Product) -> int:
    return product.weight.shape[1] * product.groups if product.transposed else len(product.weight)
