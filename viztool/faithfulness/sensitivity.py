"""Sensitivity-n: does the sum of a map over some pixels say what the score loses without them?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from viztool.faithfulness.copies import scores
from viztool.targets.question import Question

# Ancona et al. take single pixels and 100 sets of each size, n from 1 to 80 % of them. At today's sizes the loss of
# n scattered pixels of 50,000 says little about any of them, so these are cells, and n a share of their number.
_CELLS = 14
_SHARES = (0.1, 0.3, 0.5, 0.7)
_SETS = 32


@dataclass(frozen=True, eq=False)
class Losses:
    """Random sets of cells, and what the score loses without each.

    sets: (n sizes, sets, cells) 0 or 1. losses: (n sizes, sets). grid: (rows, columns) of cells.
    """

    sets: Tensor
    losses: Tensor
    grid: tuple[int, int]


def losses(question: Question, generator: torch.Generator) -> Losses:
    """Take random sets of cells out of the image: f(x) − f(x without the set), f being the score."""
    x, (h, w) = question.x, question.size
    grid = min(h, _CELLS), min(w, _CELLS)
    cells = grid[0] * grid[1]
    sizes = [max(1, round(share * cells)) for share in _SHARES]
    keys = torch.rand(len(sizes), _SETS, cells, generator=generator).argsort(dim=2).argsort(dim=2)
    sets = (keys < torch.tensor(sizes).view(-1, 1, 1)).float()
    numbers = _cell_numbers((h, w), grid)

    def copies(indices: Tensor) -> Tensor:
        out = sets.flatten(0, 1)[indices - 1][:, numbers] * (indices > 0).view(-1, 1, 1)
        return torch.where(question.masks(out) > 0, 0, x)

    said = scores(question, 1 + len(sizes) * _SETS, copies)
    return Losses(sets, (said[0] - said[1:]).view(len(sizes), _SETS), grid)


def sensitivity_n(maps: Tensor, found: Losses) -> Tensor:
    """The correlation of a map's sums with the losses, averaged over the sizes n: (M,) in [−1, 1].

    maps: (M, H, W), signed. corr(Σ of the map over S, f(x) − f(x without S)) over sets S of n, Ancona et al. 2018:
    1 if the score is a sum over pixels and the map holds each one's term; 0 where the sums, or the losses, are all the
    same.
    """
    numbers = _cell_numbers((maps.shape[1], maps.shape[2]), found.grid)
    cells = maps.new_zeros(len(maps), found.sets.shape[2], dtype=torch.float64)
    cells.index_add_(1, numbers.flatten(), maps.flatten(1).double())
    sums = torch.einsum("knc,mc->mkn", found.sets.double(), cells)
    return _correlation(sums, found.losses.double()).mean(1).float()


def _cell_numbers(size: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """(H, W) int64: which cell each pixel lies in."""
    rows, columns = (torch.arange(side) * count // side for side, count in zip(size, grid, strict=True))
    numbers: Tensor = rows[:, None] * grid[1] + columns
    return numbers


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson's, along the last dimension; 0 where one of them is constant, within rounding."""
    a, b = a - a.mean(-1, keepdim=True), b - b.mean(-1, keepdim=True)
    scale = a.norm(dim=-1) * b.norm(dim=-1)
    return torch.where(scale > 1e-12, (a * b).sum(-1) / scale, 0.0)
