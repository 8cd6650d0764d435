"""The names of a network's layers, the same whether or not it is wrapped or compiled."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from viztool.errors import LayerError, ModelError

COMPILED = "_orig_mod"
"""The name of a layer in the wrapper that `torch.compile` makes of it."""

_QUANTIZERS = frozenset({"weight_fake_quant", "activation_post_process", "_packed_params"})
"""What `torch.ao.quantization` puts into layers to round and hold their weights and outputs."""


def unwrap(net: object) -> nn.Module:
    """The network itself: out of a viztool `Model`, DataParallel, DDP or `torch.compile`.

    Raises ModelError for scripted and traced networks, whose layers run without hooks.
    """
    # A Model is known by its `net` alone: this room must not import the one that stands on it.
    inner = net if isinstance(net, nn.Module) else getattr(net, "net", None)
    if not isinstance(inner, nn.Module):
        raise ModelError(f"expected a network (torch.nn.Module or viztool Model), got {type(net).__name__}")
    while True:
        if isinstance(inner, torch.jit.ScriptModule):
            raise ModelError(
                "the network is scripted or traced, and hooks do not fire in it; pass the network that it was made from"
            )
        if isinstance(inner, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = inner.module
        elif isinstance(compiled_from := inner._modules.get(COMPILED), nn.Module):
            inner = compiled_from
        else:
            return inner


def named_layers(net: nn.Module) -> dict[str, nn.Module]:
    """Every layer of `net` by name, in definition order; the network itself is "".

    A layer that is registered under two names has both. The name of a compiled layer is that of
    the layer it was compiled from, and leads to that one, since hooks do not fire on the wrapper.
    What makes a layer's weights (a parametrization, such as a weight norm) is part of that layer.
    """
    found: dict[str, nn.Module] = {}
    _walk("", net, found)
    return found


def _walk(name: str, module: nn.Module, found: dict[str, nn.Module]) -> None:
    found[name] = module
    if module._modules:  # asked for each look at a network, of which most layers hold no other
        for child, layer in layers_inside(module):
            _walk(name if child == COMPILED else f"{name}.{child}" if name else child, layer, found)


def layers_inside(layer: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The layers that a layer holds, by their names in it."""
    for name, module in layer._modules.items():
        if (
            module is not None
            and name not in _QUANTIZERS
            and not (name == "parametrizations" and is_parametrized(layer))
        ):
            yield name, module


def leaf_names(layers: dict[str, nn.Module]) -> list[str]:
    """The layers that hold no other layer, each module once."""
    first_name = {id(module): name for name, module in reversed(layers.items())}
    return [name for name, module in layers.items() if is_leaf(module) and first_name[id(module)] == name]


def is_leaf(layer: nn.Module) -> bool:
    """Whether a layer holds no other."""
    return not any(True for _ in layers_inside(layer))


def kind_of(layer: nn.Module) -> str:
    """The name of the layer's class; of a parametrized layer, that of the class it had before."""
    kind = type(layer)
    return (kind.__bases__[0] if is_parametrized(layer) else kind).__name__


def require_hookable(name: str, module: nn.Module) -> None:
    """Raise LayerError if hooks do not fire on this layer."""
    if isinstance(module, torch.jit.ScriptModule):
        raise LayerError(f"layer {name!r} is scripted or traced, and hooks do not fire in it")
