"""Relevance that flows through single units: Achtibat et al. 2023, concept relevance propagation.

The relevance that arrives at a layer is cut to one channel, and only that goes on to the input. Rules are linear in the
relevance, so the maps of all channels add up to the one of all that comes through the layer.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from viztool.attribution.passes import Pass
from viztool.errors import LayerError, SettingError, ViztoolError, no_channel
from viztool.hooks.layout_memory import layouts_of
from viztool.hooks.naming import named_layers, unwrap
from viztool.hooks.select import Pattern, select
from viztool.hooks.watch import watch
from viztool.inspect.survey import survey_of
from viztool.models.model import Model
from viztool.tensors.graph import mend_norms

Through: TypeAlias = "tuple[Pattern, int | Sequence[int]]"
"""A layer and a channel of it, or several."""

_AT_ONCE = 8
"""Channels that go back side by side where that pays: more outgrow a processor's caches."""


@dataclass(frozen=True)
class Ways:
    """Where relevance is to pass: a layer, channels of it, and which axis of what it puts out they are.

    each: whether every channel is to have a map of its own, of one image; else there is one channel, of N images.
    """

    layer: str
    channels: tuple[int, ...]
    axis: int
    each: bool

    @property
    def in_words(self) -> str:
        """Such as "through blocks.4/15"."""
        return f"through {self.layer}/{', '.join(map(str, self.channels))}"


def ways(model: nn.Module | object, x: Tensor, through: Through) -> Ways:
    """Raises LayerError for a layer that is not there, ViztoolError for what is no channel or too many of them."""
    net = unwrap(model)
    layer, channels, each = _taken_apart(through)
    picked = select(named_layers(net), layer)
    if len(picked) > 1:
        raise LayerError(f"{layer!r} picks {len(picked)} layers, {picked[0]!r} and others; name one")
    if each and len(x) > 1:
        raise ViztoolError(f"several channels go with one image, not with {len(x)}; pass the images one by one")
    layout = layouts_of(net, x).of(picked[0])
    return Ways(picked[0], channels, -1 if layout is not None and layout.channels == -1 else 1, each)


def _taken_apart(through: Any) -> tuple[Pattern, tuple[int, ...], bool]:
    """The layer, its channels, and whether they were given as several. Raises SettingError for anything else."""
    wrong = SettingError(f"through is {through!r}; give a layer and a channel of it, such as ('blocks.4', 15)")
    if not isinstance(through, (tuple, list)) or len(through) != 2:
        raise wrong
    layer, asked = through
    each = isinstance(asked, Iterable) and not isinstance(asked, (str, bytes))
    try:
        channels = tuple(operator.index(channel) for channel in (asked if each else (asked,)))
    except TypeError:
        raise wrong from None
    if not channels:
        raise wrong
    return layer, channels, each


def check_through(model: Model, through: Through) -> None:
    """Raise ViztoolError for a layer or a channel that a model does not have, before there is a photo."""
    known, x = survey_of(model)
    at = ways(model, x, through)
    if at.layer in known.sites:
        for channel in at.channels:
            if not 0 <= channel < known.sites[at.layer].channels:
                raise no_channel(at.layer, known.sites[at.layer].channels, channel)


class Crossing:
    """What a layer puts out in a forward under rules, and its place in the graph; nothing of the network changes."""

    def __init__(self, at: Ways) -> None:
        self._at = at
        self.layer = at.layer
        self.value: Tensor | None = None
        self.edge: GradientEdge | None = None

    def note(self, name: str, module: nn.Module, output: Any) -> None:
        """After the layer has run; of one that runs several times the last time counts."""
        if isinstance(output, Tensor) and output.requires_grad:
            # The place and not the tensor: the next layer may work in place.
            self.value, self.edge = output.detach().clone(), get_gradient_edge(output)

    def parts(self, passed: Pass, at_once: bool) -> Iterator[tuple[Tensor, Tensor]]:
        """For each channel, in order: its relevance at the layer, and the multipliers that come to the input from it.

        at_once: whether several go back side by side. Raises LayerError where no relevance comes through the layer.
        """
        name = self._at.layer
        if self.value is None or self.edge is None:
            raise LayerError(f"layer {name!r} puts out no one tensor that depends on the input; choose another")
        count = self.value.shape[self._at.axis]
        for channel in self._at.channels:
            if not 0 <= channel < count:
                raise no_channel(name, count, channel)
        mend_norms(*passed.ends.values())
        ends, starts = list(passed.ends.values()), list(passed.starts.values())
        (arrives,) = torch.autograd.grad(ends, [self.edge], starts, retain_graph=True, allow_unused=True)
        if arrives is None:
            raise LayerError(
                f"no relevance comes through {name!r} by itself: it is folded into the next layer, or the score does "
                "not depend on it; name the layer after it"
            )
        size = _AT_ONCE if at_once else 1
        for first in range(0, len(self._at.channels), size):
            masked = [self._cut(arrives, channel) for channel in self._at.channels[first : first + size]]
            yield from zip([self.value * one for one in masked], self._back(passed, masked), strict=True)

    def _cut(self, arrives: Tensor, channel: int) -> Tensor:
        mask = torch.zeros_like(arrives)
        mask.select(self._at.axis, channel).fill_(1)
        return arrives * mask

    def _back(self, passed: Pass, masked: Sequence[Tensor]) -> list[Tensor]:
        """The multipliers of the input for each."""
        assert self.edge is not None
        if len(masked) > 1:
            try:
                side_by_side = [torch.stack(list(masked))]
                return list(
                    torch.autograd.grad(
                        [self.edge], passed.leaf, side_by_side, retain_graph=True, is_grads_batched=True
                    )[0]
                )
            except torch.OutOfMemoryError:
                raise
            except RuntimeError:
                pass  # a rule of the network's asks for numbers, which there are none of side by side
        return [torch.autograd.grad([self.edge], passed.leaf, [one], retain_graph=True)[0] for one in masked]


def watch_crossings(net: nn.Module, crossings: Sequence[Crossing]) -> AbstractContextManager[None]:
    """Around a forward: each crossing is told what its layer puts out."""
    named = named_layers(net)
    by_layer = {crossing.layer: crossing for crossing in crossings}

    def note(name: str, module: nn.Module, output: Any) -> None:
        by_layer[name].note(name, module, output)

    return watch({layer: named[layer] for layer in by_layer}, exit=note)


def arrives_at(passed: Pass, crossings: Sequence[Crossing]) -> list[Tensor | None]:
    """The relevance of all that each layer puts out; None where none comes through it by itself."""
    edges = [crossing.edge for crossing in crossings if crossing.edge is not None]
    mend_norms(*passed.ends.values())
    ends, starts = list(passed.ends.values()), list(passed.starts.values())
    found = iter(torch.autograd.grad(ends, edges, starts, allow_unused=True) if edges else ())
    arrived: list[Tensor | None] = []
    for crossing in crossings:
        multipliers = None if crossing.edge is None else next(found)
        arrived.append(None if multipliers is None or crossing.value is None else crossing.value * multipliers)
    return arrived
