"""What there is to say of a picture that an ascent ended in."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from viztool.kernels.ascent import NO_LOWER, SILENT, Optima
from viztool.kernels.checks import high_frequency_fraction, judged, robustness
from viztool.kernels.network import Stopped
from viztool.kernels.objectives import OUTPUT
from viztool.kernels.photos import PhotoActivity, selectivity
from viztool.kernels.pixels import opacity, to_pixels
from viztool.kernels.result import Drawn
from viztool.kernels.task import Task
from viztool.models.model import Model

_NOTHING = 1e-5
_NEAR_ZERO = 1e-3
"""Of the layer's largest mean over the photos: what is smaller is no measure of anything."""


class Examiner:
    """Puts numbers beside the pictures of a task. judge: a second network with the same classes."""

    def __init__(self, task: Task, activity: PhotoActivity | None, judge: Model | None) -> None:
        self._task, self._activity = task, activity
        self._network = Stopped(task.model, [task.units.layer], task.settings.size)
        self._judge = judge if task.units.layer == OUTPUT else None

    def drawn(self, index: int, optima: Optima, first: int) -> list[Drawn]:
        """The pictures of the unit with this number in the row; they stand in `optima` from `first` on."""
        task = self._task
        unit = task.units.indices[index]
        images = optima.images[first : first + task.signs]
        kept = robustness(task.model, task.objectives(index), images, seed=task.seed, network=self._network)
        high = high_frequency_fraction(images)
        statuses = self._statuses(unit, images, optima.status[first : first + task.signs])
        drawn = []
        for sign, image in enumerate(images):
            at = first + sign
            activation = float(optima.score[at]) * (-1 if sign else 1)
            numbers = {
                "activation": _finite(activation),
                "robustness": _finite(float(kept[sign])),
                "high frequencies": _finite(float(high[sign])),
            }
            if self._activity is not None:
                for key, natural in measures(self._activity, unit).items():
                    numbers[f"to photos' {key}"] = None if sign or natural is None else activation / natural
            if self._judge is not None and not sign:
                numbers["judged"] = judged(self._judge, images[:1], unit)
            alpha = opacity(optima.alpha[at])
            drawn.append(Drawn(to_pixels(image), alpha, statuses[sign], optima.steps[at], numbers))
        return drawn

    def _statuses(self, unit: int, images: Tensor, ascended: tuple[str, ...]) -> list[str]:
        """Those of the ascent, and of a picture that makes no difference to the unit."""
        moved = self._moved(unit, images)
        statuses = [status or ("" if moves else SILENT) for status, moves in zip(ascended, moved, strict=True)]
        if len(statuses) > 1 and statuses[1] == SILENT != statuses[0]:
            statuses[1] = NO_LOWER  # it does respond: a ReLU rests at zero
        return statuses

    def _moved(self, unit: int, images: Tensor) -> list[bool]:
        """Whether a picture made a difference to the unit at all, beside what the layer's others put out."""
        with torch.no_grad():
            shown = torch.cat([torch.full_like(images[:1], 0.5), images]).to(self._network.device)
            grey, *means = self._network(shown)[self._task.units.layer].float().mean((2, 3))
        return [not bool((mean[unit] - grey[unit]).abs() <= _NOTHING * mean.abs().max()) for mean in means]


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
