"""What adds up to each unit of a layer: a bias, kernels times patches, and maps that are added as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from viztool.explorer.paths import PRODUCTS, Path, added, has_norm, placed, zeros
from viztool.explorer.record import Recorder, Ref, Step

_TOLERANCE = 2e-5
"""Of the largest total: how far a sum may be from what the layer put out."""
Maps = Callable[[Tensor], Tensor | None]
"""From a tensor in the form of a layer's output to its maps (C, h, w)."""


@dataclass(frozen=True, eq=False)
class Product:
    """Kernels times patches of `given` (K, H, W).

    weight: (C, K / groups, kh, kw); of a transposed convolution (K, C / groups, kh, kw). Norms and scales that follow
    are in it. source: the step that made what was given.
    """

    given: Tensor
    weight: Tensor
    source: int
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    transposed: bool = False

    def total(self, size: tuple[int, int]) -> Tensor:
        """The sum of all terms of each unit: (C, *size)."""
        if self.transposed:
            whole = F.conv_transpose2d(
                self.given[None], self.weight, None, self.stride, 0, 0, self.groups, self.dilation
            )
            top, left = self.padding
            whole = F.pad(whole[..., top:, left:], (0, size[1], 0, size[0]))
            return whole[0, :, : size[0], : size[1]]
        # Far enough to the right and below for every unit.
        need = [
            (side - 1) * stride + dilation * (kernel - 1) + 1 - padding - length
            for side, stride, dilation, kernel, padding, length in zip(
                size, self.stride, self.dilation, self.weight.shape[2:], self.padding, self.given.shape[1:], strict=True
            )
        ]
        given = F.pad(self.given[None], (self.padding[1], need[1], self.padding[0], need[0]))
        return F.conv2d(given, self.weight, None, self.stride, 0, self.dilation, self.groups)[0]


@dataclass(frozen=True, eq=False)
class Operand:
    """A map that is added as it is: (C, h, w). source: the step that made it; None for constants."""

    maps: Tensor
    source: int | None


@dataclass(frozen=True, eq=False)
class Sum:
    """bias + products + operands = total, which is the layer's output before its activation function.

    bias: (C,). total: (C, h, w). step: what gave the total. within: what follows the products and is in their kernels
    and the bias: norms, or a scale alone.
    """

    bias: Tensor
    products: tuple[Product, ...]
    operands: tuple[Operand, ...]
    total: Tensor
    activation: str
    step: int
    within: Literal["", "norms", "scale"] = ""


def needed(recorder: Recorder, path: Path) -> set[int]:
    """The steps whose results `sum_of` wants."""
    want = {path.start, *path.leaves}
    for leaf in path.leaves:
        step = recorder.steps[leaf]
        if step.name in PRODUCTS and step.sources:
            want.add(step.sources[0])
            want.add(_unpadded(recorder, step.sources[0])[0])
    return want


def sum_of(recorder: Recorder, path: Path, kept: Mapping[int, Tensor], maps: Maps) -> Sum | None:
    """What adds up to the units of a layer, checked against what they are; None if it has no maps.

    kept: the results of the steps that are `needed`. Where the parts do not add up, or there are none, the total is
    its own operand.
    """
    total = maps(added(recorder, path, {path.start: kept[path.start]}))
    if total is None:
        return None
    total = total.float().cpu()
    whole = Sum(torch.zeros(len(total)), (), (Operand(total, path.start),), total, path.activation, path.start)
    if path.leaves == (path.start,) and recorder.steps[path.start].name not in PRODUCTS:
        return whole
    try:
        parts = _parts(recorder, path, kept, maps)
    except (LookupError, TypeError, ValueError, RuntimeError):
        return whole
    if parts is None or not total.isfinite().all():
        return whole
    found = replace(parts, total=total)
    size = (total.shape[1], total.shape[2])
    sums = found.bias[:, None, None] + torch.zeros_like(total)
    for product in found.products:
        sums = sums + product.total(size)
    for operand in found.operands:
        sums = sums + operand.maps
    return found if float((sums - total).abs().max()) <= _TOLERANCE * float(total.abs().max()) else whole


def _parts(recorder: Recorder, path: Path, kept: Mapping[int, Tensor], maps: Maps) -> Sum | None:
    steps = recorder.steps
    nothing = zeros(steps, path.leaves, kept[path.start])
    shift = _required(maps(added(recorder, path, nothing))).float().cpu()
    products: list[Product] = []
    operands: list[Operand] = []
    norms = scales = False
    bias = _per_channel(shift)
    if bias is None:
        bias = torch.zeros(len(shift))
        operands.append(Operand(shift, None))
    for leaf in path.leaves:
        ones = {**nothing, leaf: torch.ones_like(nothing[leaf])}
        scale = _per_channel(_required(maps(added(recorder, path, ones))).float().cpu() - shift)
        made = None
        if steps[leaf].name in PRODUCTS and scale is not None:
            made = _product(recorder, path, leaf, kept, maps)
        if made is None or scale is None:
            own = {**nothing, leaf: kept[leaf]}
            operands.append(Operand(_required(maps(added(recorder, path, own))).float().cpu() - shift, leaf))
            continue
        product, own_bias = made
        norms |= has_norm(recorder, path, leaf)
        scales |= not bool((scale == 1).all())
        products.append(_scaled(product, scale))
        bias = bias + scale * own_bias
    within: Literal["", "norms", "scale"] = "norms" if norms else "scale" if scales else ""
    return Sum(bias, tuple(products), tuple(operands), shift, path.activation, path.start, within)


def _product(
    recorder: Recorder, path: Path, leaf: int, kept: Mapping[int, Tensor], maps: Maps
) -> tuple[Product, Tensor] | None:
    """A convolution or linear layer, with its own bias (C,); None where its units are not those of the layer."""
    step = recorder.steps[leaf]
    values = _arguments(step)
    weight, own_bias = values["weight"], values["bias"]
    if not isinstance(values["input"], Ref) or not isinstance(weight, Tensor):
        return None
    weight = weight.detach().float().cpu()
    count = torch.arange(kept[leaf].numel(), dtype=torch.float64).view(step.shape)
    order = _required(maps(placed(recorder, path, leaf, count))).round().long()
    bias = torch.zeros(len(order)) if own_bias is None else own_bias.detach().float().cpu()
    source = values["input"].step
    if step.name == "linear":
        rows = order[0] // len(weight)
        if not torch.equal(order, rows * len(weight) + torch.arange(len(weight)).view(-1, 1, 1)):
            return None
        given = kept[source].float().cpu().reshape(-1, weight.shape[1])[rows.flatten()].T.reshape(-1, *rows.shape)
        return Product(given, weight[:, :, None, None], source), bias
    if len(step.shape) != 4 or not torch.equal(order.flatten(), torch.arange(order.numel())):
        return None
    padding = values["padding"]
    if isinstance(padding, str):
        reach = [d * (k - 1) for d, k in zip(_two(values["dilation"]), weight.shape[2:], strict=True)]
        padding = (0, 0) if padding == "valid" else (reach[0] // 2, reach[1] // 2)
    top, left = _two(padding)
    if step.name == "conv2d":
        source, above, before = _unpadded(recorder, source)
        top, left = top + above, left + before
    return Product(
        kept[source].float().cpu()[0],
        weight,
        source,
        _two(values["stride"]),
        (top, left),
        _two(values["dilation"]),
        int(values["groups"]),
        step.name == "conv_transpose2d",
    ), bias


def _unpadded(recorder: Recorder, source: int) -> tuple[int, int, int]:
    """What was padded with zeros before a convolution, by so many rows above and columns before it."""
    step = recorder.steps[source]
    if step.name != "pad" or len(step.sources) != 1:
        return source, 0, 0
    values = dict(zip(("input", "pad", "mode", "value"), step.args, strict=False)) | dict(step.kwargs)
    pad = values.get("pad", ())
    if values.get("mode", "constant") != "constant" or values.get("value") not in (None, 0) or len(pad) > 4:
        return source, 0, 0
    left, _, top, _ = (*pad, 0, 0, 0, 0)[:4]
    return (source, 0, 0) if min(pad, default=0) < 0 else (step.sources[0], int(top), int(left))


_NAMES = {
    "linear": ("input", "weight", "bias"),
    "conv2d": ("input", "weight", "bias", "stride", "padding", "dilation", "groups"),
    "conv_transpose2d": ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation"),
}


def _arguments(step: Step) -> dict[str, Any]:
    usual = {"bias": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1}
    return usual | dict(zip(_NAMES[step.name], step.args, strict=False)) | dict(step.kwargs)


def _scaled(product: Product, scale: Tensor) -> Product:
    """With what each channel is multiplied by afterwards."""
    weight = product.weight
    if bool((scale == 1).all()):  # a kernel of hundreds of megabytes is not copied for nothing
        return product
    if product.transposed:
        weight = (
            weight * scale.view(product.groups, -1).repeat_interleave(len(weight) // product.groups, 0)[..., None, None]
        )
    else:
        weight = weight * scale[:, None, None, None]
    return replace(product, weight=weight)


def _per_channel(maps: Tensor) -> Tensor | None:
    """The value of each channel, if it is the same everywhere."""
    first = maps[:, 0, 0]
    same = (maps - first[:, None, None]).abs().max() <= 1e-6 * maps.abs().max()
    return first.clone() if bool(same) else None


def _required(maps: Tensor | None) -> Tensor:
    if maps is None:
        raise LookupError("no maps")
    return maps


def _two(number: int | Sequence[int]) -> tuple[int, int]:
    if isinstance(number, int):
        return number, number
    one = tuple(number)
    return (int(one[0]), int(one[-1]))
