"""The kernel between two units, through whatever is linear between their layers: Voss et al. 2021.

"Visualizing Weights", Distill: of two layers next to each other it is the kernel as it is; of a separable block the
product of its linear parts. Activation functions count as the identity, a max pool as a mean pool, gates as constants:
what the nonlinear parts do is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from viztool.attribution.rules import Call, Rule, Rules, local
from viztool.errors import LayerError, ViztoolError
from viztool.hooks.capture import capture
from viztool.hooks.frozen import frozen
from viztool.hooks.naming import named_layers, unwrap
from viztool.hooks.select import exactly
from viztool.hooks.watch import watch
from viztool.inspect.one_forward import untouched
from viztool.inspect.survey import Site, survey_of
from viztool.models.model import Model
from viztool.results import Part

Array = npt.NDArray[np.float32]

_ACTIVATIONS = (
    "relu relu6 hardtanh threshold clamp clamp_min leaky_relu prelu elu celu selu silu hardswish gelu mish tanh"
)
_GATES = "sigmoid hardsigmoid softmax"


class LinearParts(NamedTuple):
    """values: (n, C, kh, kw), the kernels. left_out: the functions on the way that are not linear, by name."""

    values: Array
    left_out: tuple[str, ...]


def expanded_weights(net: nn.Module, x: Tensor, source: Site, target: Site, channels: Sequence[int]) -> Array:
    """The kernels from all channels of one layer to some of a later one: (n, C, kh, kw), of the unit in the middle.

    x: (1, C, H, W), an input to run on once. Zeros around all of them are cut off; of a convolution that is all of its
    kernel where the map has room for it. Raises LayerError if no linear way leads from one to the other.
    """
    return linear_parts(net, x, source, target, channels).values


def linear_parts(net: nn.Module, x: Tensor, source: Site, target: Site, channels: Sequence[int]) -> LinearParts:
    """As `expanded_weights`, and what these kernels leave out."""
    named = named_layers(net)
    leaf: list[Tensor] = []
    left_out: dict[str, None] = {}

    def begin(name: str, module: nn.Module, output: Any) -> Tensor:
        leaf[:] = [output.detach().clone().requires_grad_()]
        return leaf[0].clone()

    with untouched(net, x) as own, frozen(net), torch.enable_grad(), Rules(_table(left_out)):
        with (
            watch({source.name: named[source.name]}, exit=begin),
            capture(net, exactly([target.name]), stop=target.calls == 1) as acts,
        ):
            net(own)
        found = target.maps(acts[target.name])
        middle = found[0, :, found.shape[2] // 2, found.shape[3] // 2]
        crops = _Crops()
        for channel in channels:
            gradient = None
            if middle.requires_grad:
                gradient = torch.autograd.grad(middle[channel], leaf[0], retain_graph=True, allow_unused=True)[0]
            if gradient is None:
                raise LayerError(f"nothing leads from layer {source.name!r} to {target.name!r}")
            crops.add(np.asarray(source.maps(gradient)[0].float().cpu().numpy(), np.float32))
    return LinearParts(crops.together(), tuple(left_out))


@dataclass(frozen=True, eq=False, repr=False)
class Expanded(Part):
    """The kernels to one unit from the layer that its own begins with. values: (C, kh, kw), of all its channels."""

    source: str
    values: Array

    def strongest(self, count: int) -> list[int]:
        """The input channels with the longest kernels, longest first."""
        lengths = np.square(self.values, dtype=np.float64).sum((1, 2))
        return [int(channel) for channel in np.argsort(-lengths, kind="stable")[:count]]


def expanded_of(model: Model, layer: str, channels: Sequence[int]) -> list[Expanded] | None:
    """Of some channels of a layer; None where no linear way leads there from one before it."""
    try:
        known, x = survey_of(model)
        source = known.before(layer)
        kernels = expanded_weights(unwrap(model.net), x, source, known.site(layer), channels)
    except ViztoolError:
        return None
    return [Expanded(source.name, own) for own in kernels]


def _table(left_out: dict[str, None]) -> dict[str, Rule]:
    """left_out: is given the names of the functions whose rules are asked."""
    rules: dict[str, Rule] = dict.fromkeys(_ACTIVATIONS.split(), _as_it_is)
    rules |= dict.fromkeys(_GATES.split(), _held)
    rules |= {"max_pool2d": _as_mean, "adaptive_max_pool2d": _as_adaptive_mean}
    return {name: _noted(name, rule, left_out) for name, rule in rules.items()}


def _noted(name: str, rule: Rule, left_out: dict[str, None]) -> Rule:
    def follow(call: Call) -> Any:
        if call.x.requires_grad:
            clamps = (*call.args[1:3], call.kwargs.get("min_val"), call.kwargs.get("max_val"))
            left_out["relu6" if name == "hardtanh" and clamps[:2] == (0.0, 6.0) else name] = None  # as nn.ReLU6 has it
        return rule(call)

    return follow


def _as_it_is(call: Call) -> Any:
    value = call.value()
    return local(call.x, value) if call.x.requires_grad else NotImplemented


def _held(call: Call) -> Any:
    return call.value().detach()


def _as_mean(call: Call) -> Any:
    kernel, *rest = call.args[1:] if len(call.args) > 1 else (call.kwargs["kernel_size"],)
    given = dict(zip(("stride", "padding"), rest, strict=False)) | call.kwargs
    mean = F.avg_pool2d(call.x, kernel, given.get("stride"), given.get("padding", 0), given.get("ceil_mode", False))
    return _with_value(mean, call)


def _as_adaptive_mean(call: Call) -> Any:
    size = call.args[1] if len(call.args) > 1 else call.kwargs["output_size"]
    return _with_value(F.adaptive_avg_pool2d(call.x, size), call)


def _with_value(stand_in: Tensor, call: Call) -> Any:
    value = call.value()
    return local(stand_in, value) if isinstance(value, Tensor) and call.x.requires_grad else NotImplemented


class _Crops:
    """Kernels without the zeros around all of them: whole, those of a layer may not go into the memory."""

    def __init__(self) -> None:
        self._kept: list[tuple[Array, int, int]] = []

    def add(self, kernel: Array) -> None:
        """(C, h, w), of one unit; all are as large."""
        used = np.abs(kernel).max(0) > 0
        rows, columns = np.flatnonzero(used.any(1)), np.flatnonzero(used.any(0))
        if not len(rows):  # it keeps a place, in no way of the others
            self._kept.append((kernel[:, :0, :0], -1, -1))
            return
        cut = kernel[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        self._kept.append((np.ascontiguousarray(cut), int(rows[0]), int(columns[0])))

    def together(self) -> Array:
        """(n, C, kh, kw): 1 × 1 where all are 0."""
        there = [one for one in self._kept if one[0].size]
        top, left = (min((one[axis] for one in there), default=0) for axis in (1, 2))
        h, w = (max((one[axis] + one[0].shape[axis] for one in there), default=1) for axis in (1, 2))
        found = np.zeros((len(self._kept), len(self._kept[0][0]), h - top, w - left), np.float32)
        for at, (kernel, row, column) in enumerate(self._kept):
            if kernel.size:
                y, x = row - top, column - left
                found[at, :, y : y + kernel.shape[1], x : x + kernel.shape[2]] = kernel
        return found
