"""One batch of pictures on their way up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from viztool.hooks.select import Pattern
from viztool.kernels.network import Stopped
from viztool.kernels.objectives import Objective, View
from viztool.kernels.parameterizations import Canvas, Parameterization, Shape
from viztool.kernels.redirect import Redirected
from viztool.kernels.transforms import Transforms
from viztool.models.model import Model
from viztool.results import Part
from viztool.tensors.graph import mend_norms
from viztool.tensors.size import Size

_CHECK_EVERY = 32
_PATIENCE = 3
_RISES = 1.01
"""A picture is done when its activation was not better by a hundredth in three checks, 32 steps apart."""


Window: TypeAlias = tuple[slice, slice]
"""Rows and columns of a picture."""


@dataclass(frozen=True, repr=False)
class Progress(Part):
    """Where the ascent of some pictures is. indices: which of the `total` they are. scores: (n,), last transformed.

    window: the part of the pictures that counts; all of them if None.
    """

    step: int
    steps: int
    indices: range
    scores: Tensor
    canvas: Canvas
    total: int
    window: Window | None = None

    def images(self) -> Tensor:
        """The pictures as they are now, (n, C, h, w) in [0, 1]; of each the window."""
        with torch.no_grad():
            images = self.canvas.image().detach()
        return images if self.window is None else images[..., self.window[0], self.window[1]]


Callback = Callable[[Progress], None]


@dataclass(frozen=True, eq=False, repr=False)
class Optima(Part):
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
NO_LOWER = "nothing lower found"
INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Settings:
    """How to ascend; as in `viztool.kernels.maximize`. window: the part of a picture that counts, which a unit sees."""

    steps: int
    size: Size
    parameterization: Parameterization
    transforms: Transforms
    views: int = 1
    redirect: int = 16
    early_stop: bool = True
    window: Window | None = None


def generators(keys: Sequence[tuple[int, int]], stream: int) -> list[torch.Generator]:
    """One random number generator for each key, and others for another stream."""
    # Seeds that are near one another must not give streams that are alike.
    return [torch.Generator().manual_seed(_mixed(seed, index, stream)) for seed, index in keys]


def _mixed(*numbers: int) -> int:
    return int(np.random.SeedSequence([number % 2**64 for number in numbers]).generate_state(1, np.uint64)[0] >> 1)


class Ascent:
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
        steps = torch.zeros(count, dtype=torch.int)
        healthy, heard = self._healthy(canvas), torch.zeros(count, dtype=torch.bool)
        rise = _Rise(count)
        interrupted = False
        try:
            for step in range(1, s.steps + 1):
                image, scores, finite, gradient = self._step(canvas, draws, redirect=step <= s.redirect)
                healthy &= finite
                heard |= gradient
                going = healthy & ~rise.over
                assert image.grad is not None
                alpha += image.grad.abs().mean(1).nan_to_num(0.0)
                _move(canvas.parameters, optimizer, going)
                steps[going] = step
                if callback is not None:
                    callback(Progress(step, s.steps, indices, scores, canvas, self._total, s.window))
                if s.early_stop and step % _CHECK_EVERY == 0 and step < s.steps:
                    rise.note(self._untransformed(canvas, below=s.redirect > 0))
                if not bool((healthy & ~rise.over).any()):
                    break
        except KeyboardInterrupt:
            interrupted = True
        with torch.no_grad():
            image = canvas.image().detach()
        score = self._untransformed(canvas)
        healthy &= score.isfinite()
        status = [self._status(bool(ok), bool(any_), interrupted) for ok, any_ in zip(healthy, heard, strict=True)]
        return Optima(image.float().cpu(), alpha.cpu(), score, tuple(steps.tolist()), tuple(status))

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
                parameter.grad = torch.where(_rows(self._asleep, own), parameter.grad, own)
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
            scores = self._scores(image, self._network(seen, below=s.redirect > 0))
            mend_norms(scores)
            (-scores.sum()).backward()
        return image, scores.detach().cpu()

    def _scores(self, image: Tensor, maps: dict[Pattern, Tensor]) -> Tensor:
        """(N,): the mean over the views of each picture."""
        views = len(next(iter(maps.values()))) // len(image) if maps else 1
        parts = {layer: each.float().split(self._images * views) for layer, each in maps.items()}
        pictures = image.split(self._images)
        scores = []
        for index, objective in enumerate(self._objectives):
            # View by view: an objective of several pictures must not take the views of one for pictures.
            of_views = [
                objective.score(View(pictures[index], {layer: part[index][at::views] for layer, part in parts.items()}))
                for at in range(views)
            ]
            scores.append(torch.stack(of_views).mean(0))
        return torch.cat(scores)

    def _gradients(self, canvas: Canvas, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Which pictures have a finite score and gradient, and which have any gradient: both (N,), on the CPU."""
        largest = torch.stack(
            [parameter.grad.flatten(1).abs().amax(1) for parameter in canvas.parameters if parameter.grad is not None]
        ).amax(0)
        largest = largest.cpu()
        return largest.isfinite() & scores.isfinite(), largest != 0

    def _untransformed(self, canvas: Canvas, *, below: bool = False) -> Tensor:
        with torch.no_grad():
            image = canvas.image()
            return self._scores(image, self._still(image, below=below)).cpu()

    def _healthy(self, canvas: Canvas) -> Tensor:
        """Which pictures' objectives use nothing that is not finite from the start."""
        count = len(self._objectives) * self._images
        spoiled = self._network.spoiled
        if spoiled is None:
            return torch.ones(count, dtype=torch.bool)
        with torch.no_grad():
            maps = {layer: each.expand(count, -1, -1, -1) for layer, each in spoiled.items()}
            return self._scores(canvas.image(), maps).isfinite().cpu()


def _move(parameters: Sequence[Tensor], optimizer: torch.optim.Optimizer, going: Tensor) -> None:
    """One step of the pictures that are going, (N,) bool; the others stay."""
    if bool(going.all()):
        optimizer.step()
        return
    kept = [parameter.detach().clone() for parameter in parameters]
    for parameter in parameters:
        assert parameter.grad is not None
        parameter.grad = torch.where(_rows(going, parameter), parameter.grad, 0.0)
    optimizer.step()
    with torch.no_grad():
        for parameter, old in zip(parameters, kept, strict=True):  # without a gradient there still is momentum
            parameter.copy_(torch.where(_rows(going, parameter), parameter, old))


def _rows(chosen: Tensor, like: Tensor) -> Tensor:
    """(N,) as (N, 1, ..., 1), to be used with a parameter."""
    return chosen.to(like.device).view(-1, *[1] * (like.dim() - 1))


class _Rise:
    """Whether scores still rise, from checks now and then. over: (N,), of which pictures that has ended."""

    def __init__(self, count: int) -> None:
        self.over = torch.zeros(count, dtype=torch.bool)
        self._since = torch.full((count,), -1)  # the first check has nothing to compare with
        self._first: Tensor | None = None
        self._best = torch.zeros(count)

    def note(self, scores: Tensor) -> None:
        """One more check. A score may be below zero and has no scale of its own: what counts is how far it came."""
        if self._first is None:
            self._first = scores
        came = scores - self._first
        rises = came > self._best * _RISES
        self._best = torch.where(rises, came, self._best)
        self._since = torch.where(rises, 0, self._since + 1)
        self.over |= self._since >= _PATIENCE
