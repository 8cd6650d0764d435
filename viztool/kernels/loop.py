"""Gradient ascent: pictures that do the most for their objectives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from viztool.errors import ViztoolError
from viztool.hooks.select import Pattern
from viztool.kernels.ascent import INTERRUPTED, Ascent, Callback, Optima, Settings
from viztool.kernels.network import Stopped
from viztool.kernels.objectives import Objective
from viztool.kernels.parameterizations import Fourier, Parameterization
from viztool.kernels.presets import preset_of
from viztool.kernels.transforms import Transforms
from viztool.models.model import Model, wrap_model
from viztool.models.preprocess import check_size
from viztool.models.repeated import at_once
from viztool.tensors.size import Size


def maximize(
    model: Model | nn.Module,
    objectives: Objective | Sequence[Objective],
    *,
    images: int = 1,
    steps: int | None = None,
    size: int | Size = 128,
    seed: int = 0,
    parameterization: Parameterization | None = None,
    transforms: Transforms | None = None,
    views: int = 1,
    start: Tensor | None = None,
    redirect: int = 16,
    early_stop: bool = True,
    callback: Callback | None = None,
) -> Optima:
    """Pictures that maximise objectives, by gradient ascent.

    >>> maximize(model, channel("blocks.4", 3) - 0.1 * total_variation()).images  # doctest: +SKIP

    objectives: one, or several, each of its own picture. images: pictures of each objective, for those that look at
        several together (`diversity`, `interpolation`).
    steps, parameterization, transforms: by default those that suit classes, or what the layers' units see (see
        `viztool.kernels.presets`); `Transforms()` for none. views: draws of each picture a step.
    size: of the pictures, in pixels of the network's input. seed: of all that is random. Each picture has
        random numbers of its own. On a CPU a run repeats byte for byte; a GPU adds up in another order each time.
    start: pictures (N, C, h, w) in [0, 1] to start from; their size counts.
    redirect: a picture that gets no gradient at all at the start gets a redirected one in so many first steps.
    early_stop: end when no picture's own score, not transformed, rises any more.
    callback: called after each step. Ctrl-C ends the ascent with what there is.

    The network is left as it was: a frozen copy runs, and only up to the layers that are asked for.
    Raises LayerError and ModelError for a layer, a channel or a size that does not fit.
    """
    wanted = [objectives] if isinstance(objectives, Objective) else list(objectives)
    if not wanted or images < 1 or (steps is not None and steps < 1) or views < 1:
        raise ViztoolError("nothing to maximise: give at least one objective, image, step and view")
    sides = check_size(size) if start is None else (start.shape[-2], start.shape[-1])
    known = model if isinstance(model, Model) else wrap_model(model)
    preset = preset_of(known, frozenset[Pattern]().union(*(each.layers for each in wanted)), sides)
    settings = Settings(
        steps=steps or preset.steps,
        size=sides,
        parameterization=parameterization or Fourier(rate=preset.rate, decay=preset.decay),
        transforms=preset.transforms if transforms is None else transforms,
        views=views,
        redirect=redirect,
        early_stop=early_stop,
    )
    keys = [(seed, index) for index in range(len(wanted) * images)]
    chunks = list(ascend(known, wanted, settings, keys, images=images, start=start, callback=callback))
    return joined(chunks)


def joined(chunks: Sequence[Optima]) -> Optima:
    """All of them as one."""
    return Optima(
        torch.cat([chunk.images for chunk in chunks]),
        torch.cat([chunk.alpha for chunk in chunks]),
        torch.cat([chunk.score for chunk in chunks]),
        tuple(step for chunk in chunks for step in chunk.steps),
        tuple(status for chunk in chunks for status in chunk.status),
    )


def ascend(
    model: Model,
    objectives: Sequence[Objective],
    settings: Settings,
    keys: Sequence[tuple[int, int]],
    *,
    images: int = 1,
    start: Tensor | None = None,
    callback: Callback | None = None,
) -> Iterator[Optima]:
    """The optima of some objectives after another: as many at once as pay on the machine.

    keys: of the random numbers of each picture. Ends after an interrupted one.
    """
    layers = frozenset[Pattern]().union(*(objective.layers for objective in objectives))
    with torch.inference_mode(False):
        mixed = model.device.type == "cuda"
        seen = settings.transforms.size(settings.size)
        network = Stopped(model, layers, seen, mixed=mixed)
        # What is told of a picture is exact, and at its own size.
        still = network if seen == settings.size and not mixed else Stopped(model, layers, settings.size)
        together = max(1, at_once(model.device) // (images * settings.views))
        for first in range(0, len(objectives), together):
            part = objectives[first : first + together]
            indices = range(first * images, (first + len(part)) * images)
            run = Ascent(model, network, still, part, images, settings, len(keys))
            begun = None if start is None else start[indices.start : indices.stop]
            optima = run.run([keys[index] for index in indices], indices, begun, callback)
            yield optima
            if INTERRUPTED in optima.status:
                return
