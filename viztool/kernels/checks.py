"""Numbers that say whether to believe a picture."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from viztool.hooks.evaluating import evaluating
from viztool.hooks.naming import unwrap
from viztool.hooks.select import Pattern
from viztool.kernels.ascent import generators
from viztool.kernels.network import Stopped
from viztool.kernels.objectives import Objective, View
from viztool.kernels.parameterizations.fourier import frequencies
from viztool.kernels.transforms import Transforms, jitter, pad, rotate
from viztool.models.model import Model

HIGH = 0.25
"""Cycles per pixel from which on a frequency counts as high; the highest is 0.5 along an axis."""

_DRAWS = 16
_HELD_OUT_STREAM = 2


def held_out(size: tuple[int, int]) -> Transforms:
    """Shifts and turns, further than the usual ascent has them and with draws of their own."""
    unit = max(1, round(min(size) / 16))
    return Transforms(pad(unit), jitter(2 * unit), rotate(15))


def high_frequency_fraction(images: Tensor) -> Tensor:
    """The share of the energy at frequencies above 0.25 cycles per pixel, the mean left out: (N,) of (N, C, h, w)."""
    h, w = images.shape[-2:]
    energy = torch.fft.rfft2(images.double()).abs().square().sum(1)
    twice = torch.full((w // 2 + 1,), 2.0, dtype=torch.float64)  # the other half of the plane
    twice[0] = 1
    if w % 2 == 0:
        twice[-1] = 1
    energy = energy * twice.to(energy)
    energy[:, 0, 0] = 0
    high = (energy * (frequencies((h, w)).to(energy) > HIGH)).sum((1, 2))
    fraction: Tensor = high / energy.sum((1, 2)).clamp_min(1e-20)
    return fraction


def robustness(
    model: Model, objectives: Sequence[Objective], images: Tensor, *, seed: int = 0, network: Stopped | None = None
) -> Tensor:
    """How much of its score each picture keeps under transforms that it was not made with: (N,), 1 is all.

    The mean over draws of shifts and turns, over the score of the picture as it is. NaN for a picture whose score
    is not above zero. objectives: one for each picture. images: (N, C, h, w) in [0, 1]. network: if there is one.
    """
    size = (images.shape[-2], images.shape[-1])
    layers = frozenset[Pattern]().union(*(objective.layers for objective in objectives))
    network = network or Stopped(model, layers, size)
    transforms = held_out(size)
    found = []
    with torch.no_grad():
        for index, (objective, image) in enumerate(zip(objectives, images.to(model.device), strict=True)):
            views = image.expand(_DRAWS, -1, -1, -1)
            seen = transforms(
                views, generators([(seed, index * _DRAWS + draw) for draw in range(_DRAWS)], _HELD_OUT_STREAM)
            )
            plain = objective.score(View(image[None], network(image[None])))[0]
            maps = network(seen)
            # One by one: an objective of several pictures must not take draws of one for pictures.
            draws = [
                objective.score(View(seen[at : at + 1], {layer: each[at : at + 1] for layer, each in maps.items()}))
                for at in range(_DRAWS)
            ]
            kept = torch.cat(draws).mean()
            found.append(torch.where(plain > 0, kept / plain, torch.nan))
    return torch.stack(found).float().cpu()


def judged(judge: Model, image: Tensor, unit: int) -> float:
    """The probability of a class, as a second network sees a picture (1, 3, h, w) in [0, 1].

    Raises ModelError if that network's output gives no probabilities.
    """
    x = judge.input.standardize(image.to(judge.device)).to(judge.dtype)
    net = unwrap(judge.net)
    with evaluating(net), torch.no_grad():
        output = net(x.clone())
    return float(judge.reader(x).settle(output).probabilities(output)[0, unit])
