"""What a step does to the weights: they are kept before it and compared after it, so that any optimizer counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from viztool.monitor.measures import squares

MOST = 1 << 17
"""Numbers of one parameter that are kept, evenly spaced: the ratio of two norms is that of a sample of both."""


def kept(parameter: nn.Parameter) -> Tensor:
    """A part of a parameter's values: a copy, or a strided one of a large parameter."""
    flat = parameter.detach().reshape(-1)
    every = -(-flat.numel() // MOST)
    return flat[::every].clone() if every > 1 else flat.clone()


def count_kept(parameter: nn.Parameter) -> int:
    """How many numbers `kept` gives."""
    every = max(1, -(-parameter.numel() // MOST))
    return -(-parameter.numel() // every)


@torch.no_grad()
def keep(parameters: Iterable[nn.Parameter]) -> list[tuple[nn.Parameter, Tensor]]:
    """The values of parameters before a step."""
    return [(parameter, kept(parameter)) for parameter in parameters if parameter.numel()]


@torch.no_grad()
def compared(before: Sequence[tuple[nn.Parameter, Tensor]]) -> dict[int, Tensor]:
    """(2,) for each parameter, by its id: the squared norms of its change and of what it was."""
    found: dict[int, Tensor] = {}
    for parameter, old in before:
        change = kept(parameter).sub_(old)
        found[id(parameter)] = torch.stack([squares(change), squares(old)])
    return found


@torch.no_grad()
def gradient_norms(parameters: Iterable[nn.Parameter]) -> dict[int, Tensor]:
    """The squared norm of each parameter's gradient, by its id; those without one are left out."""
    found: dict[int, Tensor] = {}
    for parameter in parameters:
        gradient = parameter.grad
        if gradient is not None:
            values = gradient.detach()
            values = values.coalesce().values() if values.is_sparse else values
            found[id(parameter)] = squares(values)
    return found


def noise_scale(small: float, large: float, batch: float, count: int) -> tuple[float, float]:
    """The trace of the gradient's covariance and its squared norm, from one micro-batch and from all of a step.

    small: squared norm of the gradient of the first of `count` micro-batches of `batch` images; large: of their sum.
    The ratio, each averaged over samples, is the batch size at which noise and signal weigh the same: the simple noise
    scale of McCandlish et al. 2018, appendix A.1. By what a loss is divided cancels.
    """
    small, large = small * count**2, large  # as if each micro-batch's gradient were a mean of its own, times `count`
    big = batch * count
    signal = (big * large - batch * small) / (big - batch)
    noise = (small - large) / (1 / batch - 1 / big)
    return noise, signal
