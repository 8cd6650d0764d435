"""What is to be known of a network's layers before one is changed: where their channels are, what their units see."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from viztool.errors import LayerError
from viztool.hooks.layouts import Layouts
from viztool.hooks.naming import named_layers, unwrap
from viztool.hooks.watch import watch
from viztool.inspect.one_forward import untouched
from viztool.inspect.receptive_field import ReceptiveField
from viztool.inspect.trace import FieldTracer
from viztool.models.model import Model
from viztool.tensors.layout import SECOND, Layout, to_channels

OUTPUT = ""
"""The network itself: what it puts out."""


@dataclass(frozen=True)
class Site:
    """A layer that one tensor comes out of, as it is for inputs of one form.

    begins, ends: its place in the order in which layers begin and end, of its last call; calls: how many there are.
    shape: (C, h, w) of its maps; of a vector (C, 1, 1). layout: where its channels are. field: what its units see.
    """

    name: str
    begins: int
    ends: int
    calls: int
    shape: tuple[int, int, int]
    layout: Layout | None
    field: ReceptiveField | None
    input_size: tuple[int, int]

    @property
    def channels(self) -> int:
        """How many there are."""
        return self.shape[0]

    @property
    def is_plain(self) -> bool:
        """Whether it puts out maps (N, C, h, w), and not tokens, a vector, or channels last."""
        return self.layout is not None and self.layout.channels == 1 and self.layout.order is None

    def maps(self, output: Tensor) -> Tensor:
        """(N, C, h, w), in the memory of what the layer put out."""
        found = _channels(output, len(output), self.input_size, self.layout)
        assert found is not None  # it was maps before
        return found

    def others(self, output: Tensor) -> Tensor:
        """(N, C, t), in the same memory: the tokens before those of the map, such as a class token; of maps none."""
        if output.dim() != 3:
            return output.new_zeros(len(output), self.channels, 0)
        tokens = output if self.layout is not None and self.layout.channels == 1 else output.transpose(1, 2)
        return tokens[..., : tokens.shape[2] - self.maps(output)[0, 0].numel()]


@dataclass
class Survey:
    """The layers of a network, by name, in the order in which they end."""

    sites: dict[str, Site] = field(default_factory=dict)
    runs: dict[str, tuple[int, int]] = field(default_factory=dict)
    """By name, when each layer that runs began and ended."""

    def site(self, name: str) -> Site:
        """Raises LayerError for a layer without maps or a vector, or that did not run."""
        if name not in self.runs:
            raise LayerError(f"layer {name!r} did not run; a circuit needs one that does")
        if name not in self.sites:
            raise LayerError(f"layer {name!r} puts out no maps of channels and no vector; choose another layer")
        return self.sites[name]

    def earlier(self, name: str) -> list[Site]:
        """The layers that ended before one began, and run but once, the last of them first."""
        own = self.site(name)
        found = [site for site in self.sites.values() if site.ends < own.begins and site.calls == 1 and site.name]
        if not found:
            raise LayerError(f"no layer ends before {name!r} begins; its inputs are the picture's own")
        return sorted(found, key=lambda site: -site.ends)

    def after(self, first: Site, later: Site) -> Site:
        """The later of the two. Raises LayerError if it does not end after the first."""
        if later.ends <= first.ends:
            raise LayerError(f"layer {later.name or 'output'!r} does not end after {first.name!r}; nothing leads there")
        return later


def survey(net: nn.Module, x: Tensor) -> Survey:
    """One forward on the first image of `x`, (N, C, H, W). The network is left as it was."""
    named = named_layers(net)
    found = Survey()
    layouts = Layouts(named)
    began: dict[str, list[int]] = {}
    calls: dict[str, int] = {}
    moments = itertools.count()
    size = (int(x.shape[-2]), int(x.shape[-1]))

    def enter(name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        layouts.enter(name, module, args, kwargs)
        began.setdefault(name, []).append(next(moments))

    def leave(name: str, module: nn.Module, output: Any) -> None:
        layouts.exit(name, module, output)
        calls[name] = calls.get(name, 0) + 1
        found.runs.pop(name, None)
        found.runs[name] = began[name].pop(), next(moments)
        found.sites.pop(name, None)
        if not isinstance(output, Tensor) or not output.is_floating_point():
            return
        layout = layouts.of(name)
        maps = _channels(output, 1, size, layout)
        if maps is not None:
            shape = (int(maps.shape[1]), int(maps.shape[2]), int(maps.shape[3]))
            known = SECOND if layout is None and maps.shape == output.shape else layout
            found.sites[name] = Site(name, *found.runs[name], calls[name], shape, known, fields.of(output), size)

    with untouched(net, x[:1]) as own, FieldTracer(net, own) as fields, watch(named, enter=enter, exit=leave):
        net(own)
    return found


def survey_of(model: Model) -> tuple[Survey, Tensor]:
    """A survey on a black input of the size that a model takes, and that input."""
    frames = () if model.input.frames is None else (model.input.frames,)
    x = torch.zeros(1, model.channels, *frames, *model.size, device=model.device, dtype=model.dtype)
    return survey(unwrap(model.net), x), x


def _channels(output: Tensor, batch: int, size: tuple[int, int], layout: Layout | None) -> Tensor | None:
    if output.dim() == 2 and len(output) == batch:
        return output[..., None, None]
    return to_channels(output, batch, size, layout)


def inside(name: str, others: Iterable[str]) -> bool:
    """Whether a layer holds one of the others, or is one."""
    return any(not name or other == name or other.startswith(f"{name}.") for other in others)
