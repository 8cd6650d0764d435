"""The layers that are watched, and how their outputs lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from viztool.errors import ModelError
from viztool.hooks.naming import is_leaf, kind_of, named_layers
from viztool.monitor.layers_by_name import layer_of

_FLOORED = (nn.ReLU, nn.ReLU6, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Threshold)
"""Activations that let nothing through below 0, or hardly anything."""
_LAST = (nn.Linear, nn.LayerNorm, nn.Embedding, nn.MultiheadAttention, nn.Bilinear)
"""Layers whose units are the last axis."""
_FIRST = (nn.modules.conv._ConvNd, nn.modules.batchnorm._NormBase, nn.GroupNorm)
_QUIET = (
    *(nn.Identity, nn.Flatten, nn.Unflatten, nn.modules.dropout._DropoutNd),
    *(nn.modules.pooling._MaxPoolNd, nn.modules.pooling._AvgPoolNd, nn.modules.pooling._AdaptiveAvgPoolNd),
    *(nn.modules.pooling._AdaptiveMaxPoolNd, nn.Upsample, nn.PixelShuffle),
)
"""Layers that only hand on what they are given."""


@dataclass(frozen=True, eq=False)
class Watched:
    """One layer. runs: it can be called. parameters: its own, each in one layer of the network only."""

    name: str
    module: nn.Module
    kind: str
    runs: bool
    parameters: tuple[nn.Parameter, ...]

    @property
    def floored(self) -> bool:
        """Whether a unit of it that is never above 0 is dead."""
        return isinstance(self.module, _FLOORED)


def watched_layers(net: nn.Module) -> list[Watched]:
    """Every layer that computes something or learns, in definition order. Raises ModelError for FSDP."""
    refuse_sharded(net)
    named = named_layers(net)
    found: list[Watched] = []
    seen: set[int] = set()
    taken: set[int] = set()
    inside: tuple[str, ...] = ()
    for name, module in named.items():
        if name.startswith(inside) or id(module) in seen:
            continue
        seen.add(id(module))
        attention = isinstance(module, nn.MultiheadAttention)
        if attention:
            inside = (*inside, f"{name}.")  # its output projection is never called
        leaf = attention or is_leaf(module)
        own = tuple(p for p in module.parameters(recurse=leaf) if id(p) not in taken)
        taken.update(map(id, own))
        runs = leaf and not isinstance(module, _QUIET)
        if runs or own:
            found.append(Watched(name, module, kind_of(module), runs, own))
    return found


def refuse_sharded(net: nn.Module) -> None:
    """Raise ModelError for a network whose parameters are cut into pieces that other processes hold."""
    kinds = {kind.__name__ for module in net.modules() for kind in type(module).__mro__}
    if kinds & {"FullyShardedDataParallel", "FSDPModule"} or any(
        type(p).__name__ == "DTensor" for p in net.parameters()
    ):
        raise ModelError("the network is sharded (FSDP), so no process has its whole layers; monitor it under DDP")


class Layouts:
    """Where the units of an output are: the axis of the layer that made it, or of the one before with as many axes."""

    def __init__(self) -> None:
        self._last: dict[int, bool] = {}

    def as_units(self, module: nn.Module, x: Tensor) -> Tensor:
        """(N, C, P): images, units, places; a view where it can be one."""
        if x.ndim < 2:
            return x.reshape(1, 1, -1)
        if isinstance(module, _LAST) or kind_of(module) == "RMSNorm":
            self._last[x.ndim] = True
        elif isinstance(module, _FIRST):
            self._last[x.ndim] = False
        if x.ndim == 2:
            return x.unsqueeze(2)
        return x.flatten(1, -2).transpose(1, 2) if self._last.get(x.ndim, False) else x.flatten(2)


def order_of(fired: Mapping[str, object], layers: list[Watched]) -> list[str]:
    """Keys of calls in execution order, and then the layers that have parameters and did not run."""
    ran = set(map(layer_of, fired))
    return [*fired, *(layer.name for layer in layers if layer.parameters and layer.name not in ran)]
