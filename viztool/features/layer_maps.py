"""The maps of one layer, and which of its channels are worth a look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from viztool.inspect.receptive_field import ReceptiveField
from viztool.inspect.stage import Stage
from viztool.render.colormaps import Map
from viztool.results import Part

_CONSTANT = 1e-6
"""A channel whose range is a smaller share of its largest value is constant, but for rounding."""


@dataclass(frozen=True, repr=False)
class ChannelStatistics(Part):
    """Over the positions of each channel; every field is (C,), in units of the activation.

    sd is the spatial standard deviation, the score by which channels are ranked: how much a channel
    says about *where*. It is 0 for a constant channel and NaN for one that is not finite.
    """

    low: Map
    high: Map
    mean: Map
    sd: Map

    @property
    def finite(self) -> npt.NDArray[np.bool_]:
        return np.isfinite(self.sd)

    @property
    def constant(self) -> npt.NDArray[np.bool_]:
        """Channels with one value everywhere; they are dead if it is zero."""
        return self.finite & (self.high - self.low <= _CONSTANT * np.maximum(np.abs(self.high), np.abs(self.low)))

    def ranked(self) -> npt.NDArray[np.intp]:
        """All channels, the largest sd first; then constant ones, then those that are not finite."""
        score = np.where(self.constant, 0.0, self.sd)
        return np.argsort(-np.where(self.finite, score, -1.0), kind="stable")


@dataclass(frozen=True, repr=False)
class LayerMaps(Part):
    """The maps of one layer for one photo.

    maps: float32 (C, h, w), as the layer put them out. channels: the ones to draw, best first. field:
    None where a unit sees no one window of the input. calls: how often the layer ran; the maps are of
    the last time. stage: that the layer is in; None where the network has no several.
    """

    name: str
    type: str
    maps: npt.NDArray[np.float32]
    statistics: ChannelStatistics
    channels: tuple[int, ...]
    field: ReceptiveField | None
    calls: int = 1
    stage: Stage | None = None

    @property
    def signed(self) -> bool:
        """Whether any finite value is negative."""
        return bool((self.statistics.low[self.statistics.finite] < 0).any())

    @property
    def dead(self) -> int:
        """How many channels are zero everywhere on this photo."""
        return int((self.statistics.constant & (self.statistics.high == 0)).sum())

    @property
    def constant(self) -> int:
        """How many channels have one value, other than zero, everywhere."""
        return int(self.statistics.constant.sum()) - self.dead

    @property
    def not_finite(self) -> int:
        """How many channels hold NaN or infinity."""
        return int((~self.statistics.finite).sum())

    def limit(self, channel: int | None = None) -> float:
        """The largest absolute value of a channel, or of all finite channels."""
        kept = self.statistics.finite if channel is None else np.array([channel])
        largest = np.maximum(np.abs(self.statistics.low), np.abs(self.statistics.high))[kept]
        return float(largest.max(initial=0.0))

    @property
    def numbers(self) -> dict[str, Any]:
        def figures(values: Map, channel: int) -> float | None:
            value = float(values[channel])
            return value if np.isfinite(value) else None

        statistics = self.statistics
        return {
            "name": self.name,
            "type": self.type,
            "shape": list(self.maps.shape),
            "calls": self.calls,
            "stage": None if self.stage is None else self.stage.numbers,
            "receptive_field": None if self.field is None else self.field.numbers,
            "dead": self.dead,
            "constant": self.constant,
            "not_finite": self.not_finite,
            "limit": self.limit(),
            "channels": [
                {
                    "index": channel,
                    "sd": figures(statistics.sd, channel),
                    "mean": figures(statistics.mean, channel),
                    "min": figures(statistics.low, channel),
                    "max": figures(statistics.high, channel),
                }
                for channel in self.channels
            ],
        }


def channel_statistics(maps: Tensor) -> list[ChannelStatistics]:
    """The statistics of each image's channels, computed where the maps are. maps: float (N, C, h, w)."""
    # Not torch.aminmax and torch.std_mean, which take twenty times as long over these axes on a CPU.
    low, high, mean = maps.amin((2, 3)), maps.amax((2, 3)), maps.mean((2, 3))
    sd = (maps - mean[:, :, None, None]).square_().mean((2, 3)).sqrt()
    sd = torch.where(low == high, 0, sd)
    sd = torch.where(low.isfinite() & high.isfinite(), sd, torch.nan)  # a NaN inside is both, and infinity is one
    return [
        ChannelStatistics(*(part.cpu().numpy() for part in parts)) for parts in zip(low, high, mean, sd, strict=True)
    ]
