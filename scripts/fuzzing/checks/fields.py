"""Receptive fields, beside the pixels that have a gradient; multiply-adds, by the formula of each kind of layer."""

from __future__ import annotations

import copy
from math import prod

import torch
from torch import Tensor, nn

import viztool
from fuzzing.blocks import Attention
from fuzzing.checks.registry import check
from fuzzing.judge import Judge
from fuzzing.networks import Case
from fuzzing.rules import Transparent
from fuzzing.twin import Trace, twin
from viztool.inspect.table import LayerRow

UNITS = 5
"""Of each layer."""


def transparent(case: Case) -> nn.Module:
    """A twin in which every path from a pixel shows: all weights positive."""
    net = twin(case.net, Transparent()).double().eval()
    with torch.no_grad():
        for module in net.modules():
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    parameter.copy_(torch.zeros_like(parameter) if name == "bias" else parameter.abs() + 0.1)
    return net


@check("receptive fields")
def fields(case: Case, judge: Judge) -> None:
    """Each layer's field at a few units is the box of the pixels with a gradient."""
    # Reflection shows a unit at the border what is inside its neighbours' fields.
    if case.traits & {"attention", "norm over positions", "parametrized", "reflection"}:
        return
    shown = copy.deepcopy(case)
    shown.x = case.x.abs().double() + 0.1
    wanted = Trace(transparent(case), shown.x)
    with judge.trying("receptive fields", "the table", refusable=False):
        table = viztool.layer_table(case.net, case.x)
        rows = {row.name: row for row in table.rows}
        layouts = case.layouts()
        for name in wanted.order:
            own = wanted.calls[name][-1]
            if not name or name in layouts or not isinstance(own, Tensor) or own.dim() != 4 or name.startswith("head"):
                continue
            row = rows.get(name)
            if row is None or (row.receptive_field is not None and row.receptive_field.global_context):
                continue
            if row.receptive_field is None:
                judge.true("receptive fields", False, f"{name} has none")
                continue
            _compare(case, judge, name, row, own, wanted)


def _compare(case: Case, judge: Judge, name: str, row: LayerRow, own: Tensor, wanted: Trace) -> None:
    field = row.receptive_field
    assert field is not None
    extents = tuple(case.x.shape[2:])
    fractional = bool(case.traits & {"upsampling", "adaptive"})
    for _ in range(UNITS):
        unit = [case.rng.randrange(own.shape[2]), case.rng.randrange(own.shape[3])]
        (gradient,) = torch.autograd.grad(own[0, :, unit[0], unit[1]].sum(), wanted.x, retain_graph=True)
        seen = gradient[0].abs().sum(0) > 0
        for axis in (0, 1):
            pixels = seen.any(1 - axis).nonzero().flatten()
            if not len(pixels):
                continue
            got = (int(pixels[0]), int(pixels[-1]) + 1)
            what = f"{name} axis {axis} unit {unit[axis]} sees {got}, field {field}"
            if fractional:
                judge.true("receptive fields: greatest size", got[1] - got[0] <= field.size[axis], what)
                continue
            start = int(field.offset[axis] + field.stride[axis] * unit[axis])
            claimed = (start, start + field.size[axis])
            # At the border taps of a dilated kernel may lie outside, and leave less than is inside.
            outside = claimed[0] < 0 or claimed[1] > extents[axis]
            fine = claimed[0] <= got[0] and got[1] <= claimed[1] if outside else got == claimed
            judge.true("receptive fields", fine, f"{what}, claimed {claimed}")


@check("multiply-adds")
def multiply_adds(case: Case, judge: Judge) -> None:
    """Of every leaf with weights, and of the whole."""
    net = copy.deepcopy(case.net).eval()
    counted: dict[str, int] = {}
    handles = []

    def note(name: str, layer: nn.Module, given: Tensor, output: Tensor) -> None:
        counted[name] = counted.get(name, 0) + _of(layer, given, output)

    for name, layer in net.named_modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear | Attention):
            handles.append(
                layer.register_forward_hook(lambda layer, args, output, name=name: note(name, layer, args[0], output))
            )
    net(case.x.clone())
    for handle in handles:
        handle.remove()
    with judge.trying("multiply-adds", "the table", refusable=False):
        table = viztool.layer_table(case.net, case.x)
        for row in table.rows:
            if row.name in counted and isinstance(
                net.get_submodule(row.name), nn.Conv2d | nn.ConvTranspose2d | nn.Linear
            ):
                own = counted[row.name]
                judge.true("multiply-adds", row.macs == own, f"{row.name}: {row.macs} for {own}")
        total = sum(counted.values())
        judge.true("multiply-adds: whole", table.macs == total, f"{table.macs} for {total}")
        parameters = sum(parameter.numel() for parameter in net.parameters())
        judge.true("parameters", table.parameters == parameters, f"{table.parameters} for {parameters}")
        plain = Trace(twin(case.net).eval(), case.x)
        for row in table.rows:
            calls = plain.calls.get(row.name, [])
            if ".parametrizations" in row.name or (calls and not isinstance(calls[-1], Tensor)):
                continue
            judge.true("table: calls", row.calls == len(calls), f"{row.name}: {row.calls} for {len(calls)}")
            shape = tuple(calls[-1].shape) if calls else None
            judge.true("table: shapes", row.output_shape == shape, f"{row.name}: {row.output_shape} for {shape}")


def _of(layer: nn.Module, given: Tensor, output: Tensor) -> int:
    if isinstance(layer, nn.Conv2d):
        own = output.numel() * layer.in_channels // layer.groups * prod(layer.kernel_size)
        # σ = u · W v, each time that the weight is made.
        spectral = "_SpectralNorm" in {type(inner).__name__ for inner in layer.modules()}
        return own + (layer.weight.numel() + layer.out_channels if spectral else 0)
    if isinstance(layer, nn.ConvTranspose2d):
        return given.numel() * layer.out_channels // layer.groups * prod(layer.kernel_size)
    if isinstance(layer, nn.Linear):
        return output.numel() * layer.in_features
    n, tokens, width = given.shape
    return 2 * n * tokens * tokens * width
