"""The kernel between two units, through whatever is linear between their layers: Voss et al. 2021.

"Visualizing Weights", Distill: of two layers next to each other it is the kernel as it is; of a separable block the
product of its linear parts. Activation functions count as the identity, a max pool as a mean pool, gates as constants:
what the nonlinear parts do is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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
from viztool.inspect.survey import Site, survey
from viztool.models.model import Model
from viztool.results import Part

Array = npt.NDArray[np.float32]

_ACTIVATIONS = (
    "relu relu6 hardtanh threshold clamp clamp_min leaky_relu prelu elu celu selu silu hardswish gelu mish tanh"
)
_GATES = "sigmoid hardsigmoid softmax"


def expanded_weights(net: nn.Module, x: Tensor, source: Site, target: Site, channels: Sequence[int]) -> Array:
    """The kernels from all channels of one layer to some of a later one: (n, C, kh, kw), of the unit in the middle.

    x: (1, C, H, W), an input to run on once. Zeros around all of them are cut off; of a convolution that is all of its
    kernel where the map has room for it. Raises LayerError if no linear way leads from one to the other.
    """
    named = named_layers(net)
    leaf: list[Tensor] = []

    def begin(name: str, module: nn.Module, output: Any) -> Tensor:
        leaf[:] = [output.detach().clone().requires_grad_()]
        return leaf[0].clone()

    with untouched(net, x) as own, frozen(net), torch.enable_grad(), Rules(_table()):
        with (
            watch({source.name: named[source.name]}, exit=begin),
            capture(net, exactly([target.name]), stop=target.calls == 1) as acts,
        ):
            net(own)
        found = target.maps(acts[target.name])
        middle = found[0, :, found.shape[2] // 2, found.shape[3] // 2]
        gradients = [
            torch.autograd.grad(middle[channel], leaf[0], retain_graph=True, allow_unused=True)[0]
            for channel in channels
            if middle.requires_grad
        ]
    arrived = [gradient for gradient in gradients if gradient is not None]
    if not arrived or len(arrived) < len(channels):
        raise LayerError(f"nothing leads from layer {source.name!r} to {target.name!r}")
    whole = torch.cat([source.maps(gradient) for gradient in arrived])
    return _without_margin(np.asarray(whole.float().cpu().numpy(), np.float32))


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
    net = unwrap(model.net)
    frames = () if model.input.frames is None else (model.input.frames,)
    x = torch.zeros(1, model.channels, *frames, *model.size, device=model.device, dtype=model.dtype)
    try:
        known = survey(net, x)
        source = known.before(layer)
        kernels = expanded_weights(net, x, source, known.site(layer), channels)
    except ViztoolError:
        return None
    return [Expanded(source.name, own) for own in kernels]


def _table() -> dict[str, Rule]:
    rules: dict[str, Rule] = dict.fromkeys(_ACTIVATIONS.split(), _as_it_is)
    rules |= dict.fromkeys(_GATES.split(), _held)
    return rules | {"max_pool2d": _as_mean, "adaptive_max_pool2d": _as_adaptive_mean}


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


def _without_margin(kernels: Array) -> Array:
    """Cut off the rows and columns at the edges in which all are 0."""
    used = np.abs(kernels).max((0, 1)) > 0
    if not used.any():
        return kernels[..., :1, :1]
    rows, columns = np.flatnonzero(used.any(1)), np.flatnonzero(used.any(0))
    return np.ascontiguousarray(kernels[..., rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
