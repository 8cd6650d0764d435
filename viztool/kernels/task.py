"""What a run is to draw, part by part, and how it is known again when it goes on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Protocol

import torch
from torch import nn

from viztool.hooks.naming import unwrap
from viztool.kernels.ascent import INTERRUPTED, Callback, Optima, Progress, Settings
from viztool.kernels.loop import ascend
from viztool.kernels.objectives import OUTPUT, Objective, channel, direction, logit, neuron
from viztool.kernels.units import Units
from viztool.models.model import Model
from viztool.models.reading import said
from viztool.models.repeated import at_once
from viztool.results import versions


class Store(Protocol):
    """Where finished optima are put, so that a later run need not find them again."""

    def open(self, identity: Mapping[str, Any]) -> None:
        """Throw away what is there of a run of another identity, ready for JSON."""

    def load(self, part: int) -> Optima | None:
        """The optima of this part, or None."""

    def save(self, part: int, optima: Optima) -> None:
        """Keep them."""


@dataclass(frozen=True)
class Run:
    """Who looks on and who keeps what is finished. Nothing that is drawn depends on it.

    store: keeps finished pictures for another run of the same. callback: called after each step;
    photo_callback: with the number of photos seen so far.
    """

    store: Store | None = None
    callback: Callback | None = None
    photo_callback: Callable[[int], None] | None = None


@dataclass(frozen=True)
class Task:
    """Which units of which network to draw, and how. negative: also what excites each least."""

    model: Model
    units: Units
    settings: Settings
    negative: bool
    seed: int

    @property
    def signs(self) -> int:
        """Pictures of each unit."""
        return 2 if self.negative else 1

    @property
    def identity(self) -> dict[str, Any]:
        """All that the pictures depend on, as it is and not as it was asked for; ready for JSON."""
        return {
            "network": _digest(unwrap(self.model.net)),
            "input": repr(self.model.input),
            "output": said(self.model.output),
            # One output of a network is another unit where it has two names.
            "names": len(self.model.classes or ()),
            "layer": self.units.layer,
            "units": list(self.units.indices),
            "kind": self.units.kind,
            "directions": None if self.units.directions is None else self.units.directions.tolist(),
            "negative": self.negative,
            "settings": repr(self.settings),
            "seed": self.seed,
            "together": self._together,
            "versions": versions(),
        }

    def objectives(self, index: int) -> list[Objective]:
        """What is wanted of the unit with this number in the row."""
        wanted = self._wanted(self.units.indices[index])
        return [wanted, -wanted][: self.signs]

    def _wanted(self, unit: int) -> Objective:
        layer, directions = self.units.layer, self.units.directions
        if layer == OUTPUT:
            return logit(unit)
        if directions is not None:
            return direction(layer, directions[unit])
        return neuron(layer, unit) if self.units.kind == "neuron" else channel(layer, unit)

    def parts(self, run: Run) -> Iterator[tuple[int, Optima]]:
        """The optima of a few units after another, with the number of the first of them; those of the store first."""
        if run.store is not None:
            run.store.open(self.identity)
        units = self.units.indices
        objectives = [each for index in range(len(units)) for each in self.objectives(index)]
        # By the unit's own number: its picture does not depend on which others are drawn.
        keys = [(self.seed, 2 * unit + sign) for unit in units for sign in range(self.signs)]
        first = part = 0
        while run.store is not None and first < len(objectives) and (found := run.store.load(part)) is not None:
            yield first // self.signs, found
            first, part = first + self._together, part + 1
        if first >= len(objectives):
            return
        callback = None if run.callback is None else _shifted(run.callback, first, len(objectives))
        for optima in ascend(self.model, objectives[first:], self.settings, keys[first:], callback=callback):
            if run.store is not None and INTERRUPTED not in optima.status:
                run.store.save(part, optima)
            yield first // self.signs, optima
            first, part = first + self._together, part + 1

    @property
    def _together(self) -> int:
        return max(self.signs, at_once(self.model.device) // self.settings.views)


def _shifted(callback: Callback, first: int, total: int) -> Callback:
    def shifted(progress: Progress) -> None:
        indices = range(progress.indices.start + first, progress.indices.stop + first)
        callback(replace(progress, indices=indices, total=total))

    return shifted


def _digest(net: nn.Module) -> str:
    """Of the network's layers, parameters and buffers; those that no checkpoint holds, too."""
    digest = hashlib.sha256(repr(net).encode())
    for name, tensor in chain(net.named_parameters(), net.named_buffers()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
