"""A heatmap: where a network looked, for which score, and by which method."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from viztool.errors import ModelError
from viztool.models.subject import Subject
from viztool.render.canvas import Canvas
from viztool.render.colormaps import overlay
from viztool.render.heat import HeatBand, HeatSheet, heat_sheet
from viztool.render.numbers import number, percent
from viztool.render.predictions import Predictions
from viztool.render.strip import Strip, StripTile
from viztool.results import Result, made_by, versions

SCALE_SHARE = 0.995
"""Of a map's cells, those that its colour scale tells apart: a few extreme pixels would leave the others white."""

_MISSED = 0.05  # of the whole: less may be rounding, or a quadrature that is near enough to be read
_WHY = {
    "integrated_gradients": "more steps come nearer",
    "lrp_epsilon": "large parts of both signs cancel, and biases keep theirs",
    "lrp_zplus": "relevance got lost on its way, so read where, not how much",
}
"""What to make of a sum that misses what it should be."""


@dataclass(frozen=True, eq=False, repr=False)
class Heatmap(Result):
    """Heatmaps of N images by one method.

    raw: (N, h, w) float32 on the CPU, at the layer's resolution (the input's, for pixel attributions), not
        normalised; after the ReLU where the method's definition has one.
    target: the class or score that each map is of; classes: its index, or None for a score of one's own.
    score: (N,) its value. layer: the layers that were used, in order; none for a method of pixels.
    signed: whether the method tells for from against, so that `raw` may be negative. unit: what `raw` is in.
    over_time: of an input (N, C, T, H, W), the (N, t, h, w) of which `raw` is the sum over t, where the method tells
        one moment from another.
    details: what else there is to know of the maps, such as the error of their completeness; ready for JSON.
    measured: lines on what was found of each image's map afterwards, such as `Evaluation.lines`.

    box: (left, top, right, bottom) that was asked about, in shares of what the network was given; drawn on the maps.

    Raises ModelError for maps or scores that are not finite.
    """

    method: str
    raw: Tensor
    target: tuple[str, ...]
    classes: tuple[int, ...] | None
    score: Tensor
    layer: tuple[str, ...]
    signed: bool
    subjects: tuple[Subject, ...]
    predictions: tuple[Predictions, ...] = ()
    unit: str = "score"
    seed: int | None = None
    over_time: Tensor | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    measured: Sequence[Sequence[str]] = ()
    box: tuple[float, float, float, float] | None = None

    def __post_init__(self) -> None:
        for name in ("raw", "score", "over_time"):
            # A result outlives the look: it must not keep a graph, and with it every activation.
            kept = getattr(self, name)
            object.__setattr__(self, name, None if kept is None else kept.detach())
        require_finite("the score", self.score)
        require_finite(f"the map of {self.method}", self.raw)

    @property
    def signed_map(self) -> Tensor:
        """(N, H, W) in [-1, 1]: `raw` at the input's size, over its largest absolute value. Zeros stay zeros."""
        return self._at_the_inputs_size(self.raw)

    @property
    def map(self) -> Tensor:
        """(N, H, W) in [0, 1]: what speaks for the target, at the input's size, over its largest value.

        What is below 0 in `raw` is left out before it is made larger, as in the methods that end in a ReLU: so the
        same evidence gives the same map.
        """
        return self._at_the_inputs_size(self.raw.clamp_min(0))

    @property
    def magnitude(self) -> Tensor:
        """(N, H, W) in [0, 1]: how far from nothing, whether for or against."""
        return self.signed_map.abs()

    def _at_the_inputs_size(self, raw: Tensor) -> Tensor:
        large = F.interpolate(raw[:, None], self.subjects[0].view.shape[:2], mode="bilinear")[:, 0]
        limit = large.abs().amax((1, 2), keepdim=True)
        return torch.where(limit > 0, large / limit.clamp_min(torch.finfo(large.dtype).tiny), 0.0)

    def __len__(self) -> int:
        return len(self.raw)

    def drawing(self) -> Canvas:
        """One band for each image: what the network was given, the map, the map over it."""
        bands = [self._band(index) for index in range(len(self))]
        return heat_sheet(HeatSheet(bands, made_by()))

    @property
    def numbers(self) -> dict[str, Any]:
        """Every figure that is drawn or claimed, ready for JSON."""
        return {
            "method": self.method,
            "layer": list(self.layer),
            "signed": self.signed,
            "unit": self.unit,
            "seed": self.seed,
            "images": [self._image_numbers(index) for index in range(len(self))],
            "details": dict(self.details),
            "versions": versions(),
        }

    @property
    def in_words(self) -> str:
        """Method, target, score and layer of each image."""
        place = f" at {', '.join(self.layer)}" if self.layer else ""
        scores = zip(self.target, self.score.tolist(), strict=True)
        return "; ".join(f"{self.method} of {target}, score {number(score, '.3g')}{place}" for target, score in scores)

    @property
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The raw maps (N, h, w), and "map" and "signed_map" (N, H, W), as the properties of these names."""
        over_time = {} if self.over_time is None else {"over_time": self.over_time.numpy()}
        return {"raw": self.raw.numpy(), "map": self.map.numpy(), "signed_map": self.signed_map.numpy(), **over_time}

    def _image_numbers(self, index: int) -> dict[str, Any]:
        raw = self.raw[index]
        predictions = self.predictions[index] if self.predictions else Predictions()
        return {
            **self.subjects[index].numbers,
            "target": self.target[index],
            "class": None if self.classes is None else self.classes[index],
            "score": float(self.score[index]),
            "predictions": predictions.numbers,
            "reading": predictions.note,
            "map": list(raw.shape),
            **({} if self.over_time is None else {"over_time": self.over_time[index].sum((1, 2)).tolist()}),
            "min": float(raw.min()),
            "max": float(raw.max()),
            "empty": not bool((raw != 0).any()),
            "scale": self.limit(index),
            "checks": self.checks(index),
        }

    def _band(self, index: int) -> HeatBand:
        subject = self.subjects[index]
        raw = self.raw[index].numpy()
        lines = [
            f"{self.method}{self.way(index)} of {self.target[index]}",
            f"score {number(float(self.score[index]), '.3g')}",
            *([f"layer {', '.join(self.layer)}"] if self.layer else []),
            *([f"all zero at {', '.join(self.details['all_zero_at'])}"] if "all_zero_at" in self.details else []),
            f"map {raw.shape[0]} × {raw.shape[1]}{', summed over time' if subject.frames else ''}",
            *([f"beside it frame {len(subject.frames) // 2} of {len(subject.frames)}"] if subject.frames else []),
            *self.checks(index),
        ]
        return HeatBand(
            title=subject.source,
            subtitle=f"{subject.network} · {subject.weights}",
            view=subject.view,
            values=raw,
            limit=self.limit(index),
            signed=self.signed,
            unit=self.unit,
            lines=lines,
            predictions=self.predictions[index] if self.predictions else Predictions(),
            over_time=self._strip(index),
            flags=self.flags(index),
            box=self.box,
        )

    def way(self, index: int) -> str:
        """Of relevance that was sent through one unit, which."""
        through = self.details.get("through")
        return "" if through is None else f" through {through['layer']}/{self._channel(index)}"

    def _channel(self, index: int) -> int:
        """Several channels are of one image, a map each; one channel is of all images."""
        channels: Sequence[int] = self.details["through"]["channels"]
        return channels[index if len(channels) > 1 else 0]

    def _strip(self, index: int) -> Strip | None:
        """Each moment of the map over the frame in the middle of those that it is of, all on one scale."""
        if self.over_time is None:
            return None
        moments, frames = self.over_time[index], self.subjects[index].frames
        limit = _end_of_scale(moments)
        tiles = []
        for moment, values in enumerate(moments):
            first = len(frames) * moment // len(moments)
            last = max(first, len(frames) * (moment + 1) // len(moments) - 1)
            name = f"frame {first}" if first == last else f"frames {first} to {last}"
            picture = overlay(values.numpy(), limit, frames[(first + last) // 2], heat=not self.signed)
            tiles.append(StripTile(name, f"sum {number(float(values.sum()), '.3g')}", picture))
        scale = f"one scale, to {number(limit, '.3g')} {self.unit}".strip()
        return Strip(f"{self.subjects[index].source} over time", scale, tiles)

    def limit(self, index: int) -> float:
        """Where the colour scale of an image's map ends: of a coarse map, its largest absolute value."""
        return _end_of_scale(self.raw[index])

    def checks(self, index: int) -> list[str]:
        """Lines on how far to believe an image's map: whether it adds up, and how it stands beside random maps."""
        lines: list[str] = []
        for name in {"completeness", "conservation"} & self.details.keys():
            found = self.details[name]
            total, whole = (number(found[part][index], ".3g") for part in ("sum", "whole"))
            lines.append(f"sum {total} of {whole} = {found['of']}")
        if "standard_error" in self.details:
            lines.append(f"standard error {number(self.details['standard_error'][index], '.2g')}")
        return [*lines, *self.measured[index]] if self.measured else lines

    def flags(self, index: int) -> list[str]:
        """What speaks against an image's map: a sum that should be the score, and is not."""
        lines: list[str] = []
        for name in {"completeness", "conservation"} & self.details.keys():
            missed = self.details[name]["relative"][index]
            if missed is not None and missed > _MISSED:
                why = _WHY.get(self.method, "it is no split of the score into parts")
                lines.append(f"the sum is off by {percent(missed)}: {why}")
        return lines


def _end_of_scale(values: Tensor) -> float:
    sizes = values.abs().flatten()
    return float(sizes.kthvalue(math.ceil(SCALE_SHARE * len(sizes))).values) or float(sizes.max())


def require_finite(what: str, values: Tensor) -> None:
    """Raise ModelError if a value is NaN or infinite."""
    if not bool(values.isfinite().all()):
        raise ModelError(f"{what} is not finite (NaN or infinity): look at the network's weights, and at the input")
