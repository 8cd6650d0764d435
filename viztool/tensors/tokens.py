"""The order in which tokens stand, where it is not row by row."""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from viztool.tensors.size import Size


class Placed(NamedTuple):
    """Tokens of a grid of (H, W) patches: the place (row · W + column) of each."""

    grid: Size
    order: Tensor

    @property
    def row_by_row(self) -> bool:
        return torch.equal(self.order, torch.arange(len(self.order)))


def order_after(module: nn.Module, count: int) -> Tensor | None:
    """The token that the module puts at each place, if all it does to `count` tokens is to put them in another order.

    A copy of it is asked with numbered tokens, so that what the module notes for itself stays as it is.
    """
    numbers = torch.arange(count, dtype=torch.float32)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            put: object = copy.copy(module).forward(numbers.view(1, count, 1))
    except Exception:  # it takes no tokens of one channel, so it does more than to order them
        return None
    if not isinstance(put, Tensor) or put.shape != (1, count, 1):
        return None
    order = put.flatten()
    if torch.equal(order, numbers) or not torch.equal(order.sort().values, numbers):
        return None
    return order.long()


def pooled(tokens: Placed, count: int) -> Placed | None:
    """The places of `count` tokens, each of which stands for a rectangle of these; None if they do not.

    They are the first of as many groups as there are tokens in a rectangle, or one after the other.
    """
    times, rest = divmod(len(tokens.order), count)
    if rest or times < 2:
        return None
    h, w = tokens.grid
    for high in range(1, times + 1):
        wide = times // high
        if high * wide != times or h % high or w % wide:
            continue
        cells = tokens.order // w // high * (w // wide) + tokens.order % w // wide
        for groups in (cells.view(times, count), cells.view(count, times).T):
            if bool((groups == groups[0]).all()) and len(groups[0].unique()) == count:
                return Placed((h // high, w // wide), groups[0].clone())
    return None
