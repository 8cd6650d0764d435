"""Take channels out of a layer, and see what that changes in a later one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from viztool.circuits.between import Between, Channels, offset
from viztool.circuits.windows import Window
from viztool.errors import SettingError, ViztoolError
from viztool.tensors.compare import alike

Replace: TypeAlias = Literal["mean", "zero", "resample"]
Doubles: TypeAlias = npt.NDArray[np.float64]

_AT_ONCE, _AT_ONCE_ELSEWHERE = 16, 128
"""Copies of an activation in one run of what follows."""

_TOLERANCE = 1e-5
"""Of a value, as a share of the largest in its channel: how far a part of the maps may lead from all of them."""


def check_replace(replace: str) -> None:
    """Raise SettingError for a word that says nothing."""
    if replace not in get_args(Replace):
        raise SettingError(f"replace is {replace!r}; there are {', '.join(get_args(Replace))}")


class Edge(NamedTuple):
    """channel: of the other layer, or a class. effect: the mean over photos of before − after. error: of that mean."""

    channel: int
    effect: float
    error: float


@dataclass(frozen=True)
class Units:
    """Where a later layer is read: the units (channel, row, column), each along its own array (n,)."""

    channels: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]

    def of(self, maps: Tensor, begin: tuple[int, int] = (0, 0)) -> Doubles:
        """(k, n): their values in k copies of the layer's maps, or of the part of them that begins there."""
        at = (torch.from_numpy(each).to(maps.device) for each in (self.channels, self.rows, self.columns))
        channel, row, column = at
        values = maps[:, channel, row - begin[0], column - begin[1]]
        return np.asarray(values.double().cpu().numpy(), np.float64)


def changes(
    between: Between,
    groups: Sequence[Sequence[int]],
    instead: Channels,
    units: Units,
    windows: Mapping[str, Window] | None = None,
) -> Doubles:
    """(groups, n): before − after of each unit, when the channels of a group are replaced together.

    instead: what takes their place. What is compared ran side by side, in batches of one size:
    kernels round differently in others, and what does not change is to be 0.
    """
    found = []
    begin = offset(windows or {})
    for part, size in _parts(groups, between.copies(1).device.type):
        given = between.copies(size + 1)
        for at, group in enumerate(part, 1):
            between.replace(given, at, group, instead)
        values = units.of(between(given, windows), begin)
        found.append(values[:1] - values[1 : len(part) + 1])
    return np.concatenate(found)


def _parts(groups: Sequence[Sequence[int]], device: str) -> Iterator[tuple[Sequence[Sequence[int]], int]]:
    """As many groups at a time as pay, and for how many there is to be room: the same each time."""
    most = _AT_ONCE if device == "cpu" else _AT_ONCE_ELSEWHERE
    runs = -(-len(groups) // most)
    size = -(-len(groups) // runs)
    for start in range(0, len(groups), size):
        yield groups[start : start + size], size


def leads_to_the_same(between: Between, instead: Channels, units: Units, windows: Mapping[str, Window]) -> bool:
    """Whether these parts of the maps give what all of them do, as they are and with channels replaced."""
    given = between.copies(3)
    for at, step in ((1, 1), (2, 2)):
        between.replace(given, at, range(0, len(instead.maps), step), instead)
    expected = units.of(between(given.clone()))
    try:
        found = units.of(between(given, windows), offset(windows))
    except (RuntimeError, IndexError, ValueError, ViztoolError):
        return False  # it needs maps that go together
    return alike(torch.from_numpy(expected), torch.from_numpy(found), _TOLERANCE)


def edges(rows: Doubles) -> list[Edge]:
    """From (photos, channels) to the mean and standard error of each channel, the strongest first."""
    means, errors = mean_and_error(rows)
    order = np.argsort(-np.abs(means), kind="stable")
    return [Edge(int(channel), float(means[channel]), float(errors[channel])) for channel in order]


def mean_and_error(rows: Doubles) -> tuple[Doubles, Doubles]:
    """Over the first axis; of one row alone there is no error, NaN."""
    count = len(rows)
    errors = rows.std(0, ddof=1) / np.sqrt(count) if count > 1 else np.full(rows.shape[1:], np.nan)
    return np.asarray(rows.mean(0)), np.asarray(errors)
