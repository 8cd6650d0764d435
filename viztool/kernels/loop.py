"""Gradient ascent: pictures that do the most for their objectives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from viztool.errors import ViztoolError
from viztool.kernels.network import Stopped
from viztool.kernels.objectives import Objective, View
from viztool.kernels.parameterizations import Canvas, Fourier, Parameterization, Shape
from viztool.kernels.redirect import Redirected
from viztool.kernels.transforms import Transforms, jitter, pad, rotate, scale
from viztool.models.model import Model, wrap_model
from viztool.models.preprocess import check_size
from viztool.models.repeated import at_once

Size = tuple[int, int]

_CHECK_EVERY = 32
_PATIENCE = 3
_RISES = 1.01
"""A picture is done when its activation was not better by a hundredth in three checks, 32 steps apart."""


@dataclass(frozen=True)
class Progress:
    """Where the ascent of some pictures is. indices: which of the `total` they are. scores: (n,), last transformed."""

    step: int
    steps: int
    indices: range
    scores: Tensor
    canvas: Canvas
    total: int

    def images(self) -> Tensor:
        """The pictures as they are now, (n, C, h, w) in [0, 1]."""
        with torch.no_grad():
            return self.canvas.image().detach()


Callback = Callable[[Progress], None]


@dataclass(frozen=True, eq=False)
class Optima:
    """The pictures that an ascent ended in.

    images: (N, C, h, w) in [0, 1], float32 on the CPU. alpha: (N, h, w), how much gradient each pixel got on the way.
    score: (N,), of the pictures as they are, not transformed. steps: that each took.
    status: "" for one that went well, or why it did not.
    """

    images: Tensor
    alpha: Tensor
    score: Tensor
    steps: tuple[int, ...]
    status: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)


NOT_FINITE = "not finite"
SILENT = "never responds"
INTERRUPTED = "interrupted"


def default_transforms(size: Size) -> Transforms:
    """Shifts and zooms by a tenth, turns of 15°; lucid's, but for its turns of 10°, for pictures of 128 pixels."""
    unit = max(1, round(min(size) / 32))
    return Transforms(pad(3 * unit), jitter(4 * unit), scale(0.9, 1.1), rotate(15), jitter(2 * unit))


def maximize(
    model: Model | nn.Module,
    objectives: Objective | Sequence[Objective],
    *,
    images: int = 1,
    steps: int = 256,
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
    size: of the pictures, in pixels of the network's input. seed: of all that is random; a run repeats, and each
        picture has random numbers of its own.
    parameterization: what pictures are made from; Fourier coefficients by default. transforms: random ones at each
        step; by default small shifts, zooms and turns; `Transforms()` for none. views: draws of each picture a step.
    start: pictures (N, C, h, w) in [0, 1] to start from; their size counts.
    redirect: a picture that gets no gradient at all at the start gets a redirected one in so many first steps.
    early_stop: end when no picture's own score, not transformed, rises any more.
    callback: called after each step. Ctrl-C ends the ascent with what there is.

    The network is left as it was: a frozen copy runs, and only up to the layers that are asked for.
    Raises LayerError and ModelError for a layer, a channel or a size that does not fit.
    """
    wanted = [objectives] if isinstance(objectives, Objective) else list(objectives)
    if not wanted or images < 1 or steps < 1 or views < 1:
        raise ViztoolError("nothing to maximise: give at least one objective, image, step and view")
    sides = check_size(size) if start is None else (start.shape[-2], start.shape[-1])
    settings = Settings(
        steps=steps,
        size=sides,
        parameterization=parameterization or Fourier(),
        transforms=default_transforms(sides) if transforms is None else transforms,
        views=views,
        redirect=redirect,
        early_stop=early_stop,
    )
    known = model if isinstance(model, Model) else wrap_model(model)
    keys = [(seed, index) for index in range(len(wanted) * images)]
    chunks = list(ascend(known, wanted, settings, keys, images=images, start=start, callback=callback))
    return joined(chunks)


@dataclass(frozen=True)
class Settings:
    """How to ascend; as in `maximize`."""

    steps: int
    size: Size
    parameterization: Parameterization
    transforms: Transforms
    views: int = 1
    redirect: int = 16
    early_stop: bool = True


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
    layers = frozenset[str]().union(*(objective.layers for objective in objectives))
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
            run = _Ascent(model, network, still, part, images, settings, len(keys))
            begun = None if start is None else start[indices.start : indices.stop]
            optima = run.run([keys[index] for index in indices], indices, begun, callback)
            yield optima
            if INTERRUPTED in optima.status:
                return


def generators(keys: Sequence[tuple[int, int]], stream: int) -> list[torch.Generator]:
    """One random number generator for each key, and others for another stream."""
    # Seeds that are near one another must not give streams that are alike.
    return [torch.Generator().manual_seed(_mixed(seed, index, stream)) for seed, index in keys]


def _mixed(*numbers: int) -> int:
    return int(np.random.SeedSequence([number % 2**64 for number in numbers]).generate_state(1, np.uint64)[0] >> 1)


class _Ascent:
    """One batch of pictures on their way."""

    def __init__(
        self,
        model: Model,
        network: Stopped,
        still: Stopped,
        objectives: Sequence[Objective],
        images: int,
        settings: Settings,
        total: int,
    ) -> None:
        self._model = model
        self._network, self._still = network, still
        self._objectives, self._images, self._settings = objectives, images, settings
        self._total = total
        self._asleep: Tensor | None = None

    def run(
        self, keys: Sequence[tuple[int, int]], indices: range, begun: Tensor | None, callback: Callback | None
    ) -> Optima:
        s = self._settings
        shape = Shape(self._model.channels, s.size, self._model.device)
        canvas = (
            s.parameterization.start(shape, generators(keys, 0))
            if begun is None
            else s.parameterization.resume(begun.to(shape.device, torch.float32))
        )
        draws = generators(keys, 1)
        optimizer = s.parameterization.optimizer(canvas.parameters)
        count = len(keys)
        alpha = torch.zeros(count, *s.size, device=shape.device)
        state = _State.new(count)
        healthy = self._healthy(canvas)
        best = torch.full((count,), -torch.inf)
        since = torch.zeros(count, dtype=torch.int)
        heard = torch.zeros(count, dtype=torch.bool)
        step = 0
        interrupted = False
        try:
            for step in range(1, s.steps + 1):
                image, scores, finite, gradient = self._step(canvas, draws, redirect=step <= s.redirect)
                healthy &= finite
                heard |= gradient.cpu()
                going = healthy & ~state.done
                for parameter in canvas.parameters:
                    assert parameter.grad is not None
                    rows = going.to(parameter.device).view(-1, *[1] * (parameter.dim() - 1))
                    parameter.grad = torch.where(rows, parameter.grad, 0.0)
                assert image.grad is not None
                alpha += image.grad.abs().mean(1).nan_to_num(0.0)
                before = [parameter.detach().clone() for parameter in canvas.parameters] if not going.all() else None
                optimizer.step()
                if before is not None:  # momentum goes on by itself
                    with torch.no_grad():
                        for parameter, old in zip(canvas.parameters, before, strict=True):
                            rows = going.to(parameter.device).view(-1, *[1] * (parameter.dim() - 1))
                            parameter.copy_(torch.where(rows, parameter, old))
                state.steps[going] = step
                if callback is not None:
                    callback(Progress(step, s.steps, indices, scores, canvas, self._total))
                if s.early_stop and step % _CHECK_EVERY == 0 and step < s.steps:
                    now = self._untransformed(canvas)
                    # The scale of the objective is not known, and it may be below zero: compare with how far it came.
                    start_score = state.first(now)
                    rises = now - start_score > (best - start_score) * _RISES
                    best = torch.where(rises | best.isinf(), now, best)
                    since = torch.where(rises, 0, since + 1)
                    state.done |= since >= _PATIENCE
                if bool((state.done | ~healthy).all()):
                    break
        except KeyboardInterrupt:
            interrupted = True
        with torch.no_grad():
            image = canvas.image().detach()
            score = self._untransformed(canvas)
        healthy &= score.isfinite()
        status = [self._status(bool(ok), bool(any_), interrupted) for ok, any_ in zip(healthy, heard, strict=True)]
        return Optima(image.float().cpu(), alpha.cpu(), score, tuple(state.steps.tolist()), tuple(status))

    @staticmethod
    def _status(healthy: bool, heard: bool, interrupted: bool) -> str:
        if not healthy:
            return NOT_FINITE
        if interrupted:
            return INTERRUPTED
        return "" if heard else SILENT

    def _step(
        self, canvas: Canvas, draws: list[torch.Generator], *, redirect: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """One forward and one backward: the picture with its gradient, scores, which are finite, which have any."""
        for parameter in canvas.parameters:
            parameter.grad = None
        states = [generator.get_state() for generator in draws] if redirect else []
        image, scores = self._backward(canvas, draws)
        finite, alive = self._gradients(canvas, scores)
        # Once asleep, redirected to the end: half awake, a hard swish pulls back to where it was.
        self._asleep = ~alive if self._asleep is None else self._asleep | ~alive
        if redirect and bool((self._asleep & finite).any()):
            usual = [parameter.grad for parameter in canvas.parameters]
            for parameter in canvas.parameters:
                parameter.grad = None
            for generator, old in zip(draws, states, strict=True):
                generator.set_state(old)
            with Redirected():
                self._backward(canvas, draws)
            for parameter, own in zip(canvas.parameters, usual, strict=True):
                assert parameter.grad is not None
                assert own is not None
                rows = self._asleep.to(own.device).view(-1, *[1] * (own.dim() - 1))
                parameter.grad = torch.where(rows, parameter.grad, own)
            finite, alive = self._gradients(canvas, scores)
        return image, scores, finite, alive

    def _backward(self, canvas: Canvas, draws: list[torch.Generator]) -> tuple[Tensor, Tensor]:
        s = self._settings
        with torch.enable_grad():
            image = canvas.image()
            image.retain_grad()
            shown = image if s.views == 1 else image.repeat_interleave(s.views, 0)
            # Each view takes the next numbers of its picture's generator.
            seen = s.transforms(shown, [generator for generator in draws for _ in range(s.views)])
            scores = self._scores(image, self._network(seen))
            (-scores.sum()).backward()
        return image, scores.detach().cpu()

    def _scores(self, image: Tensor, maps: dict[str, Tensor]) -> Tensor:
        """(N,): the mean over the views of each picture."""
        views = len(next(iter(maps.values()))) // len(image) if maps else 1
        parts = {layer: each.float().split(self._images * views) for layer, each in maps.items()}
        pictures = image.split(self._images)
        scores = []
        for index, objective in enumerate(self._objectives):
            own = pictures[index]
            if views > 1:
                own = own.repeat_interleave(views, 0)
            score = objective.score(View(own, {layer: part[index] for layer, part in parts.items()}))
            scores.append(score.view(-1, views).mean(1))
        return torch.cat(scores)

    def _gradients(self, canvas: Canvas, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Which pictures have a finite score and gradient, and which have any gradient: both (N,), on the CPU."""
        largest = torch.stack(
            [parameter.grad.flatten(1).abs().amax(1) for parameter in canvas.parameters if parameter.grad is not None]
        ).amax(0)
        largest = largest.cpu()
        return largest.isfinite() & scores.isfinite(), largest != 0

    def _untransformed(self, canvas: Canvas) -> Tensor:
        with torch.no_grad():
            image = canvas.image()
            return self._scores(image, self._still(image)).cpu()

    def _healthy(self, canvas: Canvas) -> Tensor:
        """Which pictures' objectives use nothing that is not finite from the start."""
        count = len(self._objectives) * self._images
        spoiled = self._network.spoiled
        if spoiled is None:
            return torch.ones(count, dtype=torch.bool)
        with torch.no_grad():
            maps = {layer: each.expand(count, -1, -1, -1) for layer, each in spoiled.items()}
            return self._scores(canvas.image(), maps).isfinite().cpu()


@dataclass
class _State:
    """steps: that each picture took. done: which have stopped rising."""

    steps: Tensor
    done: Tensor
    _first: Tensor | None = None

    @classmethod
    def new(cls, count: int) -> _State:
        return cls(torch.zeros(count, dtype=torch.int), torch.zeros(count, dtype=torch.bool))

    def first(self, scores: Tensor) -> Tensor:
        """The scores of the first check."""
        if self._first is None:
            self._first = scores
        return self._first
