"""The names of a network's layers, the same whether or not it is wrapped or compiled."""

from __future__ import annotations

import torch
from torch import nn

from viztool.errors import LayerError, ModelError

_COMPILED = "_orig_mod"


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
        elif isinstance(compiled_from := inner._modules.get(_COMPILED), nn.Module):
            inner = compiled_from
        else:
            return inner


def named_layers(net: nn.Module) -> dict[str, nn.Module]:
    """Every layer of `net` by name, in definition order; the network itself is "".

    A layer that is registered under two names has both. The name of a compiled layer is that of
    the layer it was compiled from, and leads to that one, since hooks do not fire on the wrapper.
    """
    layers: dict[str, nn.Module] = {}
    for name, module in net.named_modules(remove_duplicate=False):
        path = name.split(".")
        layers[".".join(part for part in path if part != _COMPILED)] = module
    return layers


def leaf_names(layers: dict[str, nn.Module]) -> list[str]:
    """The layers that hold no other layer, each module once."""
    first_name = {id(module): name for name, module in reversed(layers.items())}
    return [
        name
        for name, module in layers.items()
        if not any(True for _ in module.children()) and first_name[id(module)] == name
    ]


def require_hookable(name: str, module: nn.Module) -> None:
    """Raise LayerError if hooks do not fire on this layer."""
    if isinstance(module, torch.jit.ScriptModule):
        raise LayerError(f"layer {name!r} is scripted or traced, and hooks do not fire in it")
