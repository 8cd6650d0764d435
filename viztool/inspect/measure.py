"""Every layer of a network: what it puts out, what it costs, and what its units see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

import torch
from torch import Tensor, nn

from viztool.errors import ModelError
from viztool.hooks.naming import is_leaf, kind_of, named_layers, unwrap
from viztool.hooks.watch import watch
from viztool.inspect.macs import MacCounter
from viztool.inspect.one_forward import untouched
from viztool.inspect.receptive_field import ReceptiveField
from viztool.inspect.table import LayerRow, LayerTable
from viztool.inspect.trace import FieldTracer
from viztool.models.model import Model
from viztool.tensors.tree import tensors_in


@dataclass
class _Seen:
    """What one forward shows of one layer."""

    calls: int = 0
    macs: int = 0
    uncounted: frozenset[str] = frozenset()
    output_shape: tuple[int, ...] | None = None
    receptive_field: ReceptiveField | None = None


def layer_table(model: nn.Module | object, x: Any = None, *, depth: int | None = None) -> LayerTable:
    """Name, type, output shape, parameters, multiply-adds and receptive field of every layer.

    >>> print(layer_table(net, torch.zeros(1, 3, 224, 224), depth=1))  # doctest: +SKIP

    model: a viztool `Model`, or a network together with x.
    x: a normalised input (N, C, H, W), or whatever else the network takes; zeros of a Model's own size if
        not given.
    depth: leave out layers further inside than this; 1 is the network's own children.

    Multiply-adds are those of convolutions, matrix products and attention in this one forward, for the whole
    batch; norms, activations, pooling and resizing are not counted. Of an operation whose cost is not known the
    table says so: see `LayerRow.uncounted`. The network stays as it was.

    Raises ModelError if there is no input, or if the network does not run on it.
    """
    net = unwrap(model)
    if x is None:
        x = _blank_input(model)
    network = model.name if isinstance(model, Model) else type(net).__name__
    layers = _own_layers(net)
    seen: dict[str, _Seen] = {}
    running: list[tuple[str, int, int]] = []

    with untouched(net, x) as own, FieldTracer(net, own) as fields, MacCounter() as macs:

        def enter(name: str, _module: nn.Module, _args: Any, _kwargs: Any) -> None:
            seen.setdefault(name, _Seen())
            running.append((name, macs.total, len(macs.uncounted)))

        def leave(name: str, _module: nn.Module, output: Any) -> None:
            while running[-1][0] != name:  # raised, and the network went on without it
                running.pop()
            layer = seen[name]
            layer.calls += 1
            _, total, missed = running.pop()
            layer.macs += macs.total - total
            layer.uncounted |= frozenset(macs.uncounted[missed:])
            first = next(tensors_in(output), None)
            layer.output_shape = None if first is None else tuple(first.shape)
            layer.receptive_field = None if first is None else fields.of(first)

        with watch(layers, enter=enter, exit=leave):
            try:
                net(own)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:
                raise ModelError(_cannot_run(network, x, error)) from error

    rows = _rows(layers, seen)
    first_input = next(tensors_in(x), None)
    return LayerTable(
        network=network,
        input_shape=None if first_input is None else tuple(first_input.shape),
        rows=tuple(row for row in rows if depth is None or row.depth <= depth),
        parameters=sum(parameter.numel() for parameter in net.parameters()),
        macs=macs.total,
        uncounted=tuple(sorted(set(macs.uncounted))),
    )


def _own_layers(net: nn.Module) -> dict[str, nn.Module]:
    """Every layer once, by its first name; the network itself only if it holds no others."""
    layers: dict[str, nn.Module] = {}
    met: set[int] = set()
    for name, module in named_layers(net).items():
        if id(module) not in met and name:
            layers[name] = module
            met.add(id(module))
    return layers or {"": net}


def _rows(layers: dict[str, nn.Module], seen: Mapping[str, _Seen]) -> list[LayerRow]:
    """The layers as a tree: each before those inside it, siblings in the order in which they first run."""
    inside: dict[str, list[str]] = {name: [] for name in layers}
    tops: list[str] = []
    for name in layers:
        parent = name.rpartition(".")[0]
        (inside[parent] if parent else tops).append(name)
    entered = {name: at for at, name in enumerate(seen)}
    first_run: dict[str, float] = {}
    costs: dict[str, tuple[int, frozenset[str]]] = {}
    for name in reversed(layers):  # what is inside a layer stands after it
        runs = [first_run[child] for child in inside[name]]
        first_run[name] = min([entered.get(name, inf), *runs])
        costs[name] = (
            (seen[name].macs, seen[name].uncounted)
            if name in seen
            else (
                sum(costs[child][0] for child in inside[name]),
                frozenset[str]().union(*(costs[child][1] for child in inside[name])),
            )
        )

    def tree(names: list[str]) -> Iterator[str]:
        for name in _by_first_run(names, first_run):
            yield name
            yield from tree(inside[name])

    return [_row(name, layers[name], *costs[name], seen.get(name, _Seen())) for name in tree(tops)]


def _by_first_run(names: list[str], first_run: Mapping[str, float]) -> list[str]:
    """Those that never run stay behind the one that they are defined after."""
    keys: dict[str, tuple[float, int]] = {}
    behind = -1.0
    for at, name in enumerate(names):
        if first_run[name] < inf:
            behind = first_run[name]
            keys[name] = (behind, 0)
        else:
            keys[name] = (behind, at + 1)
    return sorted(names, key=keys.__getitem__)


def _row(name: str, module: nn.Module, macs: int, uncounted: frozenset[str], seen: _Seen) -> LayerRow:
    return LayerRow(
        name=name,
        type=kind_of(module),
        depth=name.count(".") + 1,
        is_leaf=is_leaf(module),
        calls=seen.calls,
        output_shape=seen.output_shape,
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        macs=macs,
        receptive_field=seen.receptive_field,
        uncounted=tuple(sorted(uncounted)),
    )


def _blank_input(model: nn.Module | object) -> Tensor:
    if not isinstance(model, Model):
        raise ModelError(
            "a network alone does not say what it takes: pass an input too, such as torch.zeros(1, 3, 224, 224)"
        )
    frames = () if model.input.frames is None else (model.input.frames,)
    return torch.zeros(1, model.channels, *frames, *model.size, device=model.device, dtype=model.dtype)


def _cannot_run(name: str, x: Any, error: Exception) -> str:
    shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors_in(x)) or type(x).__name__
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    return f"{name} cannot run on an input of the shape {shapes}: {reason}"
