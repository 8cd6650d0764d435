"""How long an evaluation will take, from a network that does nothing and a forward of the one that does."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from viztool.faithfulness.evaluate import evaluate_heatmap
from viztool.heatmaps.heatmap import Heatmap
from viztool.hooks.evaluating import evaluating
from viztool.models.model import Model
from viztool.render.colormaps import Picture

_BATCH = 8


def seconds_of_evaluation(
    model: Model,
    photo: Picture,
    heatmaps: Sequence[Heatmap],
    *,
    steps: int,
    draws: int,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """What `evaluate_heatmap` of these heatmaps, of classes, will take.

    The same is asked of a network that only counts the images that it is shown; then some of the images are shown to
    the real one.
    """
    seen: list[int] = []

    class Counting(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(len(x))
            return x.flatten(1).mean(1, keepdim=True).repeat(1, 2)

    light = replace(model, net=Counting(), classes=None, output="scores")
    asked = [replace(heatmap, classes=(0,) * len(heatmap)) for heatmap in heatmaps]
    began = clock()
    evaluate_heatmap(light, photo, asked, steps=steps, draws=draws)
    around = clock() - began
    x = model.preprocess(photo)
    x = x.repeat(_BATCH, *(1,) * (x.dim() - 1))
    with evaluating(model.net), torch.no_grad():
        model.net(x[:1])  # in which libraries choose their algorithms
        began = clock()
        model.net(x)
        each = (clock() - began) / _BATCH
    return around + sum(seen) * each
