"""What there is to say of a picture that an ascent ended in."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from viztool.kernels.ascent import NO_LOWER, SILENT, Optima
from viztool.kernels.checks import high_frequency_fraction, judged, robustness
from viztool.kernels.network import Stopped
from viztool.kernels.objectives import OUTPUT, View
from viztool.kernels.photos import PhotoActivity, selectivity
from viztool.kernels.pixels import enlarged, opacity, to_pixels
from viztool.kernels.single import filters_of
from viztool.kernels.task import Task
from viztool.kernels.tiles import Drawn
from viztool.models.model import Model

_NOTHING = 1e-5
_NEAR_ZERO = 1e-3
"""Of the layer's largest mean over the photos: what is smaller is no measure of anything."""


class Examiner:
    """Puts numbers beside the pictures of a task. judge: a second network with the same classes.

    own_kernels: draw units that are one linear filter as that filter, which is their optimum.
    """

    def __init__(self, task: Task, activity: PhotoActivity | None, judge: Model | None, *, own_kernels: bool) -> None:
        self._task, self._activity = task, activity
        self._network = Stopped(task.model, [task.units.layer], task.settings.size)
        window = task.settings.window
        self._filters: Tensor | None = None
        if window is not None and own_kernels:
            self._filters = filters_of(self._network, task.units.layer, task.units.indices, window)
        self._judge = judge if task.units.layer == OUTPUT else None

    def drawn(self, index: int, optima: Optima, first: int) -> list[Drawn]:
        """The pictures of the unit with this number in the row; they stand in `optima` from `first` on."""
        task = self._task
        unit = task.units.indices[index]
        images = optima.images[first : first + task.signs]
        scores = optima.score[first : first + task.signs].tolist()
        if self._filters is not None:
            images = self._as_pictures(self._filters[index])
            scores = self._scores(index, images)
        checks = self._checks(index, images)
        statuses = self._statuses(index, images, optima.status[first : first + task.signs])
        drawn = []
        for sign, image in enumerate(images):
            at = first + sign
            activation = scores[sign] * (-1 if sign else 1)
            numbers = {"activation": _finite(activation), **checks[sign]}
            # What photos do is a spatial mean.
            if self._activity is not None and task.units.kind == "channel":
                for key, natural in measures(self._activity, unit).items():
                    numbers[f"to photos' {key}"] = None if sign or natural is None else activation / natural
            if self._judge is not None and not sign:
                numbers["judged"] = judged(self._judge, images[:1], unit)
            pixels, alpha = to_pixels(image), opacity(optima.alpha[at])
            if task.settings.window is not None:
                pixels, alpha = enlarged(pixels[task.settings.window]), enlarged(alpha[task.settings.window])
            drawn.append(Drawn(pixels, alpha, statuses[sign], optima.steps[at], numbers, self._filters is not None))
        return drawn

    def _as_pictures(self, kernel: Tensor) -> Tensor:
        """A filter (C, h, w) in the window of a grey picture, and its opposite."""
        task = self._task
        assert task.settings.window is not None
        pictures = torch.full((task.signs, len(kernel), *task.settings.size), 0.5)
        shown = 0.5 * kernel / kernel.abs().max().clamp_min(1e-20)
        for picture, signed in zip(pictures, (shown, -shown), strict=False):
            picture[:, task.settings.window[0], task.settings.window[1]] += signed
        return pictures

    def _scores(self, index: int, images: Tensor) -> list[float]:
        """Of what is wanted, and of its opposite: each of its own picture."""
        with torch.no_grad():
            images = images.to(self._network.device)
            view = View(images, self._network(images))
            objectives = self._task.objectives(index)
            return [float(objective.score(view)[sign]) for sign, objective in enumerate(objectives)]

    def _checks(self, index: int, images: Tensor) -> list[dict[str, float | None]]:
        """Robustness and high frequencies; of one unit's few pixels they say nothing."""
        task = self._task
        if task.settings.window is not None:
            return [{"robustness": None, "high frequencies": None}] * len(images)
        kept = robustness(task.model, task.objectives(index), images, seed=task.seed, network=self._network)
        high = high_frequency_fraction(images)
        return [
            {"robustness": _finite(float(one)), "high frequencies": _finite(float(other))}
            for one, other in zip(kept, high, strict=True)
        ]

    def _statuses(self, index: int, images: Tensor, ascended: tuple[str, ...]) -> list[str]:
        """Those of the ascent, and of a picture that makes no difference to the unit."""
        moved = self._moved(index, images)
        statuses = [status or ("" if moves else SILENT) for status, moves in zip(ascended, moved, strict=True)]
        if len(statuses) > 1 and statuses[1] == SILENT != statuses[0]:
            statuses[1] = NO_LOWER  # it does respond: a ReLU rests at zero
        return statuses

    def _moved(self, index: int, images: Tensor) -> list[bool]:
        """Whether a picture made a difference to the unit at all, beside what the layer's others put out."""
        with torch.no_grad():
            shown = torch.cat([torch.full_like(images[:1], 0.5), images]).to(self._network.device)
            maps = self._network(shown)
            grey, *values = self._task.objectives(index)[0].score(View(shown, maps))
            means = maps[self._task.units.layer].float().mean((2, 3)).abs().amax(1)[1:]
        return [not bool((value - grey).abs() <= _NOTHING * mean) for value, mean in zip(values, means, strict=True)]


def natural(activity: PhotoActivity, unit: int) -> dict[str, float]:
    """What a unit puts out for photos, as a spatial mean."""
    means = activity.means[:, unit].astype(np.float64)
    return {
        "z": float(selectivity(activity.means[:, unit : unit + 1])[0]),
        "mean": float(means.mean()),
        "sd": float(means.std()),
        "p99": float(np.quantile(means, 0.99)),
        "max": float(means.max()),
    }


def measures(activity: PhotoActivity, unit: int) -> dict[str, float | None]:
    """Those of a unit's figures that an activation can be a multiple of; None for one that is negative or near zero.

    Near zero is what is less than the standard deviation over the photos: the zero of a unit behind no ReLU means
    nothing, and a maximum may be there by chance. Of values that are never negative the maximum is twice that or more.
    """
    found = natural(activity, unit)
    least = max(found["sd"], _NEAR_ZERO * float(np.abs(np.nan_to_num(activity.means)).max()))
    return {key: found[key] if found[key] > least else None for key in ("mean", "p99", "max")}


def _finite(number: float) -> float | None:
    return number if np.isfinite(number) else None
