"""What the small trainings share: patches of a photo, a loop, seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from viztool.demos.kernel import Array
from viztool.demos.photo import Photo


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """The generator of torch begins here, and goes on as before afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def cut(photo: Photo, side: int, count: int, generator: torch.Generator) -> Tensor:
    """(count, 1, side, side) patches of the grey photo, in [0, 1]."""
    image = torch.from_numpy(photo.unit).float()
    tops = torch.randint(image.shape[0] - side + 1, (count,), generator=generator)
    lefts = torch.randint(image.shape[1] - side + 1, (count,), generator=generator)
    offsets = torch.arange(side)
    return image[tops[:, None, None] + offsets[:, None], lefts[:, None, None] + offsets][:, None]


def fit(
    net: nn.Module,
    steps: int,
    loss: Callable[[], Tensor],
    look: Callable[[int], None],
    optimizer: Optimizer | None = None,
) -> None:
    """So many steps of this optimizer, by default Adam; `look` is called before the first and after each."""
    optimizer = optimizer or torch.optim.Adam(net.parameters(), 2e-3)
    look(0)
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        look(step)


def mean_and_spread(runs: Sequence[Sequence[float]]) -> tuple[Array, Array]:
    """Over runs (R, S): their mean (S,) and their standard deviation (S,)."""
    values = np.asarray(runs, np.float64)
    return np.asarray(values.mean(0)), np.asarray(values.std(0))
