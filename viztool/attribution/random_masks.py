"""Random masks of RISE: grids of cells that are visible or not, made larger and shifted."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, eq=False)
class RandomMasks:
    """Masks before they are made: cells (k, 1, grid, grid), visible or not; shifts (k, 2) in [0, 1), of a cell."""

    cells: Tensor
    shifts: Tensor

    @classmethod
    def draw(cls, count: int, grid: int, probability: float, generator: torch.Generator) -> RandomMasks:
        """As many masks of grid × grid cells, each of which is visible with this probability."""
        cells = (torch.rand(count, 1, grid, grid, generator=generator) < probability).float()
        return cls(cells, torch.rand(count, 2, generator=generator))

    def __len__(self) -> int:
        return len(self.cells)

    def made(self, part: slice, size: tuple[int, int]) -> Tensor:
        """Some of the masks at a size (H, W): (k, H, W) in [0, 1]."""
        cells = self.cells[part]
        grid = cells.shape[-1]
        cell = [-(-side // grid) for side in size]
        large = F.interpolate(cells, [(grid + 1) * side for side in cell], mode="bilinear")[:, 0]
        starts = (self.shifts[part] * torch.tensor(cell)).long().tolist()
        return torch.stack(
            [mask[top : top + size[0], left : left + size[1]] for mask, (top, left) in zip(large, starts, strict=True)]
        )
