"""A private copy of a network for many forwards: batch norms are made part of the convolutions before them."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from viztool.hooks.naming import named_layers
from viztool.hooks.watch import watch
from viztool.tensors.compare import alike
from viztool.tensors.tree import tensors_in

_TOLERANCE = 1e-4
"""Of the output, as a share of its largest value: what rounding in another order may change."""


def folded(net: nn.Module, x: Tensor) -> nn.Module:
    """A network that puts out what `net` does for inputs like `x` (N, C, H, W), in evaluation mode and without grad.

    A copy that shares all tensors with `net` but the folded weights; or `net` itself if there is nothing to
    fold, if it computes in half precision, or if the copy cannot be made or puts out anything else for `x`.
    """
    if x.dtype != torch.float32 or not any(isinstance(layer, nn.BatchNorm2d) for layer in net.modules()):
        return net
    with torch.no_grad():
        try:
            private = copy.deepcopy(net, {**results_in(net), **_tensors_of(net)})
            expected = _output(private, x)
            _fold(private, x)
            found = _output(private, x)
        except Exception:
            return net
    same = len(expected) == len(found) and all(alike(*pair, _TOLERANCE) for pair in zip(expected, found, strict=True))
    return private if same else net


def results_in(net: nn.Module) -> dict[int, Any]:
    """Results of a forward that layers hold on to, by id, out of their graphs: as they are, they cannot be copied.

    A weight norm of the older kind (`torch.nn.utils.weight_norm`) leaves the weight that it has made.
    """
    held = (value for module in net.modules() for value in vars(module).values() if isinstance(value, Tensor))
    return {id(tensor): tensor.detach() for tensor in held if not tensor.is_leaf}


def _tensors_of(net: nn.Module) -> dict[int, Any]:
    return {id(tensor): tensor for tensor in (*net.parameters(), *net.buffers())}


def _output(net: nn.Module, x: Tensor) -> list[Tensor]:
    return list(tensors_in(net(x.clone())))  # it may change its input in place


def _fold(net: nn.Module, x: Tensor) -> None:
    layers = named_layers(net)
    for conv, name in _pairs(layers, net, x):
        norm = layers[name]
        assert isinstance(norm, nn.BatchNorm2d)
        weight, bias = _merged(conv, norm)
        conv.weight, conv.bias = nn.Parameter(weight, requires_grad=False), nn.Parameter(bias, requires_grad=False)
        path, _, last = name.rpartition(".")
        # Some hold their activation function too.
        layers[path]._modules[last] = nn.Sequential(*norm.children())


def _pairs(layers: dict[str, nn.Module], net: nn.Module, x: Tensor) -> list[tuple[nn.Conv2d, str]]:
    """Convolutions with the names of the batch norms that are given just what they put out; all run but once."""
    last: tuple[nn.Conv2d, Tensor] | None = None
    pairs: list[tuple[nn.Conv2d, str]] = []
    calls: dict[int, int] = {}

    def enter(name: str, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        calls[id(layer)] = calls.get(id(layer), 0) + 1
        if last is not None and isinstance(layer, nn.BatchNorm2d) and layer.running_mean is not None:
            conv, output = last
            if args and args[0] is output:
                pairs.append((conv, name))

    def leave(name: str, layer: nn.Module, output: Any) -> None:
        nonlocal last
        if isinstance(layer, nn.Conv2d) and isinstance(output, Tensor):
            last = (layer, output)

    kinds = {name: layer for name, layer in layers.items() if isinstance(layer, nn.Conv2d | nn.BatchNorm2d)}
    with watch(kinds, enter=enter, exit=leave):
        net(x.clone())
    return [
        (conv, name)
        for conv, name in pairs
        # A weight that is made anew at each call, as by a weight norm, has no place where another could be put.
        if calls[id(conv)] == calls[id(layers[name])] == 1 and "weight" in conv._parameters
    ]


def _merged(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """The weight and bias of a convolution that does what both do."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = (norm.running_var + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight
    bias = -norm.running_mean if conv.bias is None else conv.bias - norm.running_mean
    shift = 0 if norm.bias is None else norm.bias
    weight = (conv.weight * scale[:, None, None, None]).contiguous(memory_format=torch.channels_last)
    return weight, bias * scale + shift
