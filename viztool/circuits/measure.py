"""The measurements behind a circuit, a photo at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from viztool.circuits.between import Between, Channels
from viztool.circuits.found import Together
from viztool.circuits.knock import Doubles, Replace, Units, changes, leads_to_the_same, mean_and_error
from viztool.circuits.looking import Glance
from viztool.circuits.windows import Window, trunk, windows
from viztool.errors import ModelError, no_channel
from viztool.hooks.naming import named_layers
from viztool.inspect.survey import Site, Survey
from viztool.models.model import Model
from viztool.models.reading import Reading
from viztool.models.subject import reader_of

_TOGETHER = (2, 4, 8, 16, 32)

_KEPT = 32
"""Photos whose recorded outputs stay in memory until all is measured."""


@dataclass(frozen=True)
class Unit:
    """A channel of a layer, whose maxima are looked at."""

    site: Site
    channel: int

    def __post_init__(self) -> None:
        if not 0 <= self.channel < self.site.channels:
            raise no_channel(self.site.name, self.site.channels, self.channel)


@dataclass
class Instead:
    """What channels are replaced by. means: by layer, (C,); others: (C, t), of tokens that are no place."""

    replace: Replace
    means: Mapping[str, Doubles]
    others: Mapping[str, Doubles]
    seed: int

    def of(self, site: Site, net: nn.Module, seen: Glance, at: int, between: Between) -> Channels:
        """For the photo at this place, of which `between` is."""
        if self.replace == "zero":
            return between.none
        own = between.own
        if self.replace == "mean":
            means, others = (torch.tensor(each[site.name]) for each in (self.means, self.others))
            return Channels(means.to(own.maps)[:, None, None], others.to(own.others))
        # In a circle of chance, so that each photo gives once and none gets its own.
        circle = np.random.default_rng(self.seed).permutation(len(seen.shots)).tolist()
        other = circle[(circle.index(at) + 1) % len(circle)]
        found = Between(net, seen.shots[other].look()[0], site, site).own
        if found.maps.shape != own.maps.shape:
            raise ModelError("photos of several sizes have maps of several sizes here; resample needs one")
        return found


@dataclass
class Run:
    """The measurements, a photo at a time."""

    net: nn.Module
    model: Model | nn.Module
    known: Survey
    seen: Glance
    instead: Instead
    callback: Callable[[int, int], None] | None
    windowed: int = 0
    """Photos on which a part of the maps was enough."""
    _begun: dict[int, Between] = field(default_factory=dict)
    """By photo, what was recorded before the inputs: the same for all that is measured on it."""

    def inputs(self, source: Site, unit: Unit) -> tuple[Doubles, Doubles, Doubles]:
        """(photos, C): effects of single channels, and gradient × change; (photos,): the unit's values."""
        effects, gradients, values = [], [], []
        every = [[channel] for channel in range(source.channels)]
        layers = [source, *trunk(named_layers(self.net), self.known, source, unit.site)]
        for at in range(len(self.seen.shots)):
            between, units, instead = self._photo(source, unit, at)
            parts = self._windows(between, layers, unit, units, instead)
            effects.append(changes(between, every, instead, units, parts)[:, 0])
            gradient = between.gradient((unit.channel, int(units.rows[0]), int(units.columns[0])))
            changed = [
                (slope * (own - other)).double().flatten(1).sum(1)
                for slope, own, other in zip(gradient, between.own, instead, strict=True)
            ]
            gradients.append((changed[0] + changed[1]).cpu().numpy())
            values.append(float(self.seen.highest[unit.site.name][at, unit.channel]))
            if self.callback is not None:
                self.callback(at + 1, len(self.seen.shots))
        return np.stack(effects), np.stack(gradients), np.array(values)

    def together(self, source: Site, unit: Unit, order: Sequence[int], single: Doubles) -> tuple[Together, ...]:
        """The strongest inputs knocked out at once, more and more of them, and what their single effects add up to."""
        counts = [count for count in _TOGETHER if count < source.channels] + [source.channels]
        groups = [list(order[:count]) for count in counts]
        rows = []
        for at in range(len(self.seen.shots)):
            between, units, instead = self._photo(source, unit, at)
            rows.append(changes(between, groups, instead, units)[:, 0])
        means, errors = mean_and_error(np.stack(rows))
        sums = [float(single[:, group].sum(1).mean()) for group in groups]
        return tuple(map(Together, counts, means.tolist(), errors.tolist(), sums))

    def outputs(self, unit: Unit, later: Site | None) -> tuple[Doubles, Reading | None]:
        """(photos, units of the later layer, or classes): effects of the unit; and how the classes are read."""
        rows = []
        reading: Reading | None = None
        for at, shot in enumerate(self.seen.shots):
            x, _ = shot.look()
            if later is None:
                reading = reading or self._reading(x)
                between = Between(self.net, x, unit.site, None, partial(_scores, reading))
            else:
                between = Between(self.net, x, unit.site, later)
            instead = self.instead.of(unit.site, self.net, self.seen, at, between)
            if later is None:
                rows.append(_on_classes(between, unit.channel, instead))
            else:
                rows.append(changes(between, [[unit.channel]], instead, _at_maxima(self.seen, later, at))[0])
        most = max(map(len, rows))
        if not most:
            raise ModelError("the network found no object in any photo")
        return np.stack([np.pad(row, (0, most - len(row))) for row in rows]), reading

    def _photo(self, source: Site, unit: Unit, at: int) -> tuple[Between, Units, Channels]:
        x, _ = self.seen.shots[at].look()
        between = self._begun.get(at) or Between(self.net, x, source, unit.site)
        if len(self._begun) < _KEPT:
            self._begun[at] = between
        row, column = self.seen.places[unit.site.name][at, unit.channel]
        units = Units(np.array([unit.channel]), np.array([row]), np.array([column]))
        return between, units, self.instead.of(source, self.net, self.seen, at, between)

    def _windows(
        self, between: Between, layers: Sequence[Site], unit: Unit, units: Units, instead: Channels
    ) -> dict[str, Window]:
        """The parts of maps that are enough for this unit, of as many layers as give the same."""
        place = (int(units.rows[0]), int(units.columns[0]))
        for some in (layers, layers[1:]):
            parts = windows(list(some), unit.site, place)
            if parts and leads_to_the_same(between, instead, units, parts):
                self.windowed += 1
                return parts
        return {}

    def _reading(self, x: Tensor) -> Reading:
        return reader_of(self.model, x).settle(self.net(x.clone()))


def _scores(reading: Reading, output: Any) -> Tensor:
    """(N, K), as read; of a detector that found nothing (N, 0)."""
    if reading.kind == "boxes":
        found = reading.boxes(output)
        if not any(len(boxes["labels"]) for boxes in found):
            return torch.stack([boxes["scores"].new_zeros(0) for boxes in found])
    return reading.scores(output)


def _on_classes(between: Between, channel: int, instead: Channels) -> Doubles:
    """(K,): before − after of each class. Of a detector as many as it found, before or after."""
    given = between.copies(2)
    between.replace(given, 1, [channel], instead)
    scores = between(given)[..., 0, 0].double().cpu().numpy()
    return np.asarray(scores[0] - scores[1], np.float64)


def _at_maxima(seen: Glance, site: Site, at: int) -> Units:
    places = seen.places[site.name][at]
    return Units(np.arange(site.channels), places[:, 0], places[:, 1])
