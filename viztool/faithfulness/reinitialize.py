"""Take a network's training away layer by layer, from the top down."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvTransposeNd

from viztool.hooks.naming import layers_inside, named_layers
from viztool.hooks.watch import watch


def blocks_from_the_top(net: nn.Module, x: Tensor, most: int) -> list[str]:
    """The network's parts that hold parameters, last to run first: at most that many, the largest split the finest.

    Parts that did not run on x are left out: what they hold has no say.
    """
    layers = named_layers(net)
    ran: dict[str, int] = {}

    def note(name: str, layer: nn.Module, output: object) -> None:
        ran.setdefault(name, len(ran))

    with torch.no_grad(), watch(layers, exit=note):
        net(x.clone())  # it may work in place
    blocks = [""]
    while True:
        splits = {block: parts for block in blocks if (parts := _parts(block, layers))}
        fitting = [block for block, parts in splits.items() if len(blocks) + len(parts) - 1 <= most]
        if not fitting:
            break
        largest = max(fitting, key=lambda block: _own_parameters(layers[block]))
        at = blocks.index(largest)
        blocks[at : at + 1] = splits[largest]
    when = {block: [order for name, order in ran.items() if _is_in(name, block)] for block in blocks}
    return sorted((block for block in blocks if when[block]), key=lambda block: max(when[block]), reverse=True)


def reinitialize(module: nn.Module, generator: torch.Generator, done: set[int]) -> None:
    """Give every parameter of the module a random value, in place; those whose id is in `done` only once.

    Weights with two or more sides are drawn anew with the variance that a ReLU keeps (He et al. 2015, eq. 10), and a
    norm that keeps statistics forgets them, so that signals neither die nor explode on their way; all else, such as
    biases, scales and tokens, keeps its own values in a random order.
    """
    for layer in module.modules():
        if isinstance(layer, _NormBase) and layer.track_running_stats:
            layer.reset_parameters()
            done.update(id(parameter) for parameter in layer.parameters(recurse=False))
        for name, parameter in layer.named_parameters(recurse=False):
            if id(parameter) in done:
                continue
            done.add(id(parameter))
            with torch.no_grad():
                if name.endswith("weight") and parameter.dim() >= 2 and not isinstance(layer, nn.Embedding):
                    deviation = (2 / _fan_in(layer, parameter)) ** 0.5
                    value = torch.randn(parameter.shape, generator=generator) * deviation
                else:
                    order = torch.randperm(parameter.numel(), generator=generator)
                    value = parameter.detach().cpu().flatten()[order].view(parameter.shape)
                parameter.copy_(value)


def _fan_in(layer: nn.Module, weight: Tensor) -> float:
    """How many products a unit of the layer sums up; of a transposed convolution with a stride, on average."""
    if isinstance(layer, _ConvTransposeNd):  # its inputs come first, and a stride spreads the taps over units
        return len(weight) / layer.groups * weight[0, 0].numel() / prod(layer.stride)
    return weight[0].numel()


def _parts(block: str, layers: Mapping[str, nn.Module]) -> Sequence[str]:
    """The names of what a block is made of, if all its parameters are in those; else none: it stays whole."""
    module = layers[block]
    if any(True for _ in module.parameters(recurse=False)):
        return []
    prefix = f"{block}." if block else ""
    parts = [f"{prefix}{name}" for name, child in layers_inside(module) if _own_parameters(child)]
    return _parts(parts[0], layers) if len(parts) == 1 else parts


def _own_parameters(module: nn.Module) -> int:
    return sum(1 for _ in _holders(module))


def _holders(module: nn.Module) -> Iterator[nn.Module]:
    """The layers inside, or the module itself, that hold parameters of their own."""
    return (layer for layer in module.modules() if any(True for _ in layer.parameters(recurse=False)))


def _is_in(name: str, block: str) -> bool:
    return not block or name == block or name.startswith(f"{block}.")
