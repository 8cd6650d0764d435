"""Which stage of a network a layer is in: a stage is what runs at one resolution."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from viztool.errors import LayerError
from viztool.hooks.activations import Activations
from viztool.hooks.capture import capture
from viztool.hooks.layout_memory import following
from viztool.hooks.layouts import Layouts
from viztool.hooks.naming import named_layers, unwrap
from viztool.hooks.select import STAGES
from viztool.hooks.stages import ONE_STAGE
from viztool.hooks.watch import watch
from viztool.inspect.one_forward import untouched
from viztool.models.model import Model
from viztool.tensors.size import Size


@dataclass(frozen=True)
class Stage:
    """number: from 1 to `count`, in the order in which they run. end: the stage's last layer, as `capture` picks it."""

    number: int
    count: int
    end: str

    def of(self, layer: str) -> str:
        """Where the layer is, in words: a name such as bn2 does not say it."""
        return f"{'end of' if layer == self.end else 'in'} stage {self.number} of {self.count}"

    @property
    def numbers(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)


@contextmanager
def staging(net: nn.Module, layouts: Layouts) -> Iterator[dict[str, Stage]]:
    """Around a forward of the network: afterwards the stage of each layer that has maps.

    layouts: of its layers, opened outside of this block. There are none of a network that never changes resolution.
    """
    found: dict[str, Stage] = {}
    sizes: dict[str, Size] = {}

    def note(name: str, layer: nn.Module, output: Any) -> None:
        size = layouts.stage_size(name, output, stretched=True)
        sizes.pop(name, None)  # of a layer that runs several times the last call counts
        if name and size is not None:
            sizes[name] = size

    with watch(named_layers(net), exit=note), _stages(net) as acts:
        yield found
    found.update(numbered(acts.layers, sizes))


def stages_of(model: Model) -> dict[str, Stage]:
    """The stage of each layer, for photos of the network's own size; none if it does not run on these."""
    net = unwrap(model.net)
    x = torch.zeros(1, model.channels, *model.size, device=model.device, dtype=model.dtype)
    try:
        with untouched(net, x) as own, following(net, own) as layouts, staging(net, layouts) as found:
            net(own)
    except torch.OutOfMemoryError:
        raise
    except Exception:  # whatever is wrong with the rest of the network, a name for its layers is not worth an error
        return {}
    return found


def numbered(stages: Sequence[str], sizes: Mapping[str, Size]) -> dict[str, Stage]:
    """The stage of each layer: the next one to end, at or after the layer, that has maps of its resolution.

    stages: their last layers, as they run. sizes: of each layer's maps, in the order in which they end.
    """
    stages = [stage for stage in stages if stage in sizes]
    if len({sizes[stage] for stage in stages}) < 2:
        return {}
    place = {layer: index for index, layer in enumerate(sizes)}
    found = {}
    for layer, size in sizes.items():
        alike = [
            number
            for number, stage in enumerate(stages, 1)
            if 1 / ONE_STAGE < prod(size) / prod(sizes[stage]) < ONE_STAGE
        ]
        if alike:
            number = next((one for one in alike if place[stages[one - 1]] >= place[layer]), alike[-1])
            found[layer] = Stage(number, len(stages), stages[number - 1])
    return found


@contextmanager
def _stages(net: nn.Module) -> Iterator[Activations]:
    """The stages of a forward inside the block, by name alone; a network without any is no error."""
    inside = True
    try:
        with capture(net, STAGES, reduce=_nothing) as acts:
            yield acts
            inside = False
    except LayerError:
        if inside:
            raise


def _nothing(tensor: Tensor) -> None:
    """Of what is captured only the names are wanted."""
