"""A network run from one layer to a later one, without what is known not to be linear on the way."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from viztool.attribution.rules import Call, Rule, Rules, local
from viztool.hooks.capture import capture
from viztool.hooks.naming import named_layers
from viztool.hooks.select import exactly
from viztool.hooks.watch import watch
from viztool.inspect.survey import Site

_ACTIVATIONS = (
    "relu relu6 hardtanh threshold clamp clamp_min leaky_relu rrelu prelu elu celu selu silu hardswish gelu mish tanh "
    "softplus softsign hardshrink softshrink tanhshrink"
)
_GATES = "sigmoid hardsigmoid softmax"
_SUMS = "add sub rsub cat concat stack where"
"""Linear in all that they are given."""
_LINEAR = (
    "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d linear addmm mul matmul mm bmm einsum "
    "div truediv neg sum mean batch_norm avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d "
    "adaptive_avg_pool3d interpolate pixel_shuffle pixel_unshuffle channel_shuffle pad dropout dropout1d dropout2d "
    "view reshape flatten unflatten permute transpose movedim contiguous clone getitem setitem get size dim chunk "
    "split unbind squeeze unsqueeze expand repeat roll flip narrow select index_select to float type type_as "
    "detach numel stride copy untyped_storage zeros_like ones_like requires_grad"
)
"""Linear in one tensor at a time. Only an error's words depend on it: whether a way is linear is found by numbers."""


class Passage:
    """What a later layer's unit in the middle is made of, if nothing but the linear parts were on the way.

    Activation functions count as the identity, a max pool as a mean pool. A gate stays what it is in the first run.

    left_out: the functions on the way that are not linear and count as such, by name. others: functions on the way
    that do not look linear, and that nothing is known of.
    """

    def __init__(self, net: nn.Module, source: Site, target: Site) -> None:
        self._net, self._source, self._target = net, source, target
        self._named = named_layers(net)
        self.left_out: dict[str, None] = {}
        self.others: dict[str, None] = {}
        self._table = self._rules()
        self._gates: list[Tensor] = []
        self._gates_seen = 0

    def run(self, x: Tensor, noise: float = 0.0, random: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """What the source put out, and what comes of it in the middle of the target, (C,): with grad on, in its graph.

        noise: so many of its standard deviations are added to what the source put out.
        """
        leaf: list[Tensor] = []
        self._gates_seen = 0

        def begin(name: str, module: nn.Module, output: Any) -> Tensor:
            given = output.detach().clone()
            if noise:
                spread = float(given.std()) if given.numel() > 1 else 0.0
                drawn = torch.randn(given.shape, generator=random).to(given)
                given += noise * (spread if 0 < spread < float("inf") else 1.0) * drawn
            leaf[:] = [given.requires_grad_()]
            return leaf[0].clone()

        with (
            Rules(self._table, self._note),
            watch({self._source.name: self._named[self._source.name]}, exit=begin),
            capture(self._net, exactly([self._target.name]), stop=self._target.calls == 1) as acts,
        ):
            self._net(x)
        found = self._target.maps(acts[self._target.name])
        return leaf[0], found[0, :, found.shape[2] // 2, found.shape[3] // 2]

    def _rules(self) -> dict[str, Rule]:
        rules: dict[str, Rule] = dict.fromkeys(_ACTIVATIONS.split(), _as_it_is)
        rules |= dict.fromkeys(_GATES.split(), self._held)
        rules |= {"max_pool2d": _as_mean, "adaptive_max_pool2d": _as_adaptive_mean}
        return {name: self._noted(name, rule) for name, rule in rules.items()}

    def _noted(self, name: str, rule: Rule) -> Rule:
        def follow(call: Call) -> Any:
            if call.x.requires_grad:
                clamps = (*call.args[1:3], call.kwargs.get("min_val"), call.kwargs.get("max_val"))
                own = "relu6" if name == "hardtanh" and clamps[:2] == (0.0, 6.0) else name  # as nn.ReLU6 has it
                self.left_out[f"{own} as a constant" if name in _GATES.split() else own] = None
            return rule(call)

        return follow

    def _note(self, name: str, given: Any) -> Any:
        args, _ = given
        count = sum(isinstance(one, Tensor) and one.requires_grad for one in args)
        own_statistics = name == "batch_norm" and len(args) > 1 and args[1] is None
        linear = name in _SUMS.split() or (name in _LINEAR.split() and count == 1 and not own_statistics)
        if count and not linear and name not in self._table and not name.startswith("is_"):
            self.others[name] = None
        return given

    def _held(self, call: Call) -> Any:
        if not call.x.requires_grad:
            return NotImplemented
        value = call.value().detach()
        if self._gates_seen == len(self._gates):
            self._gates.append(value.clone())
        first = self._gates[self._gates_seen]
        self._gates_seen += 1
        return first.clone() if first.shape == value.shape else value


def _as_it_is(call: Call) -> Any:
    value = call.value()
    return local(call.x, value) if call.x.requires_grad else NotImplemented


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
