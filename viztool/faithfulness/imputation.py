"""Noisy linear imputation: missing pixels filled with what their surroundings say, so that no mask shows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

_NOISE = 0.01  # standard deviation, in units of the normalised input: that of Rong et al.'s own code
_ENOUGH = 2e-3  # the largest correction that may be left undone: a fifth of the noise
_MOST_STEPS = 100
_DAMPING = 0.8
_SWEEPS = 2


def impute(x: Tensor, missing: Tensor, noise: Tensor) -> Tensor:
    """The image with its missing pixels filled in. Noisy linear imputation of Rong et al. 2022 (ROAD).

    x: (B, C, H, W). missing: (B, 1, H, W), 1 where a pixel is to be filled in, else 0. noise: (C, H, W), standard
    normal. Each missing pixel becomes the mean of its eight neighbours, weighted 1/6 for those beside it and 1/12 for
    the diagonal ones, whether those are given or missing too; at the edge, of those there are. This is one sparse
    linear system, solved to about 0.002; then comes noise of 0.01. With every pixel missing, all become zero.
    """
    # On a CPU one by one: an image then stays in the caches, and is done when it is solved, whatever is beside it.
    at_once = 1 if x.device.type == "cpu" else len(x)
    parts = zip(x.float().split(at_once), missing.float().split(at_once), strict=True)
    solved = torch.cat([_harmonic(*part) for part in parts])
    return torch.where(missing > 0, solved + _NOISE * noise, x.float()).to(x.dtype)


@dataclass(frozen=True)
class _Level:
    """One resolution. missing, and what it is multiplied with in the system: (B, 1, h, w), 0 where none is missing."""

    missing: Tensor
    diagonal: Tensor
    binomial: Tensor
    jacobi: Tensor

    def apply(self, v: Tensor) -> Tensor:
        """The system's left side, degree · v − Σ weight · neighbour, where a pixel is missing; v is 0 where none is."""
        return torch.addcmul(v * self.diagonal, self.binomial, _binomial(v), value=-1)

    def smooth(self, v: Tensor, rest: Tensor) -> Tensor:
        """One damped Jacobi sweep."""
        return torch.addcmul(v, rest - self.apply(v), self.jacobi)


def _harmonic(x: Tensor, missing: Tensor) -> Tensor:
    """Conjugate gradients, preconditioned by a multigrid cycle: x (B, C, H, W) with its missing pixels solved for.

    The system is symmetric: degree · v − Σ weight · neighbour = what the given pixels bring. Its solution is smooth
    over whole holes, which plain iterations reach only after as many steps as the hole is wide, several times over.
    """
    h, w = x.shape[-2:]
    levels = _levels(missing)
    down, right = (full - side for full, side in zip(levels[0].missing.shape[-2:], (h, w), strict=True))
    given = F.pad(x * (1 - missing), (0, right, 0, down))
    rest = _neighbours(given) * levels[0].missing
    v = torch.zeros_like(given)
    step, old = torch.zeros_like(given), torch.ones(())
    for _ in range(_MOST_STEPS):
        correction = _cycle(levels, rest)
        if float(correction.abs().max()) < _ENOUGH:
            break
        new = _dot(rest, correction)
        step = correction + step * (new / old)
        applied = levels[0].apply(step)
        length = new / _dot(step, applied)
        v, rest, old = v + length * step, rest - length * applied, new
    return (given + v)[..., :h, :w]


def _levels(missing: Tensor) -> list[_Level]:
    """The system at the image's resolution, and at each half of the one before."""
    h, w = missing.shape[-2:]
    halvings = max(0, min(h, w).bit_length() - 3)
    unit = 2**halvings
    pad = (0, -w % unit, 0, -h % unit)
    exists, missing = F.pad(torch.ones_like(missing[:1]), pad), F.pad(missing, pad)
    levels = [_level(missing, exists)]
    for _ in range(halvings):
        given = F.max_pool2d(exists - missing, 2)
        exists = F.max_pool2d(exists, 2)
        missing = exists - given
        levels.append(_level(missing, exists))
    return levels


def _level(missing: Tensor, exists: Tensor) -> _Level:
    degree = _neighbours(exists).clamp_min(1 / 12)
    return _Level(missing, missing * (degree + 1 / 3), missing * (4 / 3), _DAMPING * missing / degree)


def _cycle(levels: list[_Level], rest: Tensor) -> Tensor:
    """A multigrid V-cycle: about what is to be added to solve for `rest`. Symmetric, as a preconditioner must be."""
    level, *coarser = levels
    v = rest * level.jacobi
    for _ in range(_SWEEPS - 1):
        v = level.smooth(v, rest)
    if coarser:
        left = _binomial(rest - level.apply(v))
        coarse = 4 * F.avg_pool2d(left, 2) * coarser[0].missing
        v = v + _binomial(F.interpolate(_cycle(coarser, coarse), scale_factor=2.0)) * level.missing
    for _ in range(_SWEEPS):
        v = level.smooth(v, rest)
    return v


def _neighbours(v: Tensor) -> Tensor:
    """The weighted sum of the eight neighbours, 0 outside: weights 1/6 and 1/12."""
    return (4 / 3) * _binomial(v) - v / 3


def _binomial(v: Tensor) -> Tensor:
    """V smoothed with [1, 2, 1]/4 along both axes, 0 outside. By shifts: a depthwise convolution took 20 × as long."""
    down = v / 2
    down[..., 1:, :].add_(v[..., :-1, :], alpha=1 / 4)
    down[..., :-1, :].add_(v[..., 1:, :], alpha=1 / 4)
    across = down / 2
    across[..., 1:].add_(down[..., :-1], alpha=1 / 4)
    across[..., :-1].add_(down[..., 1:], alpha=1 / 4)
    return across


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """(B, 1, 1, 1), never 0: an image that is solved, or has nothing missing, must not give 0/0."""
    return (a * b).sum((1, 2, 3), keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
