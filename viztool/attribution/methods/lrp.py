"""Layer-wise relevance propagation: the score flows back through each layer, in proportion to what made it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.weak import WeakTensorKeyDictionary

from viztool.attribution.graph import require_rules
from viztool.attribution.passes import Pass, under, whole
from viztool.attribution.registry import method
from viztool.attribution.rules import Call, Rule, RuleFunction, Rules, local, ratio
from viztool.attribution.squashing import gates_held, sigmoid, softmax
from viztool.attribution.through import Crossing, arrives_at, watch_crossings
from viztool.errors import LayerError, ViztoolError
from viztool.heatmaps.balance import balance
from viztool.targets.question import Question

_POOLS = frozenset({"MaxPool2DWithIndices", "MaxPool3DWithIndices", "MkldnnMaxPool2D", "AdaptiveMaxPool2D"})
"""The winner takes all: that is the gradient."""

_ACTIVATIONS = (
    "relu relu6 hardtanh threshold clamp clamp_min leaky_relu prelu elu celu selu silu hardswish gelu mish tanh"
)
_CONVOLUTIONS = "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d"


@method("lrp_epsilon", "LRP-ε", "Bach et al. 2015", unit="score", through=True)
def lrp_epsilon(question: Question, *, epsilon: float = 1e-6) -> Tensor:
    """R_i = Σ_j x_i w_ij / (z_j + ε sign z_j) R_j in every layer with weights, z_j = Σ_i x_i w_ij + b_j.

    A batch norm is folded into the layer before it. Sums and mean pools share in proportion (the rule with
    ε = 0); of a max pool the winner takes all; activation functions pass relevance on; gates (what a sigmoid or a
    softmax gives, where it multiplies a signal) are held fixed, and the signal takes all (Arras et al. 2017).
    Elsewhere they pass on all but what they give for 0. Biases take their part and keep it:
    `.details["conservation"]` says how much of the score arrived. On a ReLU network with ε → 0 it is
    gradient × input (Ancona et al. 2018).
    """
    return _propagated(question, _Lrp(epsilon, positive=False), "lrp_epsilon")


@method("lrp_zplus", "LRP-z⁺", "Montavon et al. 2017, Kohlbrenner et al. 2020", unit="score", through=True)
def lrp_zplus(question: Question, *, epsilon: float = 1e-6) -> Tensor:
    """R_i = Σ_j (x_i w_ij)⁺ / Σ_i (x_i w_ij)⁺ R_j in convolutions; LRP-ε in the linear layers at the end.

    A batch norm is folded into the convolution before it; one that stands alone passes relevance on, as activation
    functions do. Of a sum of two branches, the positive parts share. Biases of convolutions take nothing, so
    that relevance is kept there. The rest is as in LRP-ε.
    """
    return _propagated(question, _Lrp(epsilon, positive=True), "lrp_zplus")


def _propagated(question: Question, rules: _Lrp, name: str) -> Tensor:
    table = Rules(rules.table(), gates_held)
    crossing = None if question.through is None else Crossing(question.through)
    with watch_crossings(question.net, [] if crossing is None else [crossing]):
        passed = under(table, question)
    require_rules(passed.ends.values(), name, table.hidden, _POOLS)
    if crossing is not None:
        return _through(question, rules, passed, crossing)
    relevance = passed.leaf.detach() * passed.multipliers()
    begun, of = whole(question.score, passed.begins_with(), "f(x)")
    if rules.kept:
        begun = begun - rules.kept_of_each(len(question))
        of += _KEPT
    question.details["conservation"] = balance(relevance, begun, of)
    return relevance


def relevance_at(question: Question, crossings: Sequence[Crossing]) -> dict[str, Tensor]:
    """The relevance by LRP-z⁺ of all that some layers put out, by layer; zeros where none comes through by itself."""
    rules = _Lrp(1e-6, positive=True)
    table = Rules(rules.table(), gates_held)
    with watch_crossings(question.net, crossings):
        passed = under(table, question)
    require_rules(passed.ends.values(), "lrp_zplus", table.hidden, _POOLS)
    found = {}
    for crossing, arrived in zip(crossings, arrives_at(passed, crossings), strict=True):
        if crossing.value is None:
            raise LayerError(f"layer {crossing.layer!r} puts out no one tensor that depends on the input")
        found[crossing.layer] = torch.zeros_like(crossing.value) if arrived is None else arrived
    return found


def _through(question: Question, rules: _Lrp, passed: Pass, crossing: Crossing) -> Tensor:
    """The relevance of the input that flows through each channel: those of one image, or one of N."""
    found, begun, x = [], [], passed.leaf.detach()
    rules.kept.clear()
    of = "what arrives at the unit"
    for arrives, multipliers in crossing.parts(passed, rules.pays_side_by_side):
        # What gates before the layer kept; those behind it are no matter here.
        arrived = arrives.reshape(len(question), -1).sum(1)
        if rules.kept:
            arrived = arrived - rules.kept_of_each(len(question))
            rules.kept.clear()
            of = f"what arrives at the unit{_KEPT}"
        found.append(x * multipliers)
        begun.append(arrived)
    relevance = torch.cat(found)
    question.details["conservation"] = balance(relevance, torch.cat(begun), of)
    return relevance


_KEPT = ", without what sigmoids and softmaxes give for 0"


class _Lrp:
    """The rules, in the form of gradients: a tensor x carries G with R = x · G."""

    def __init__(self, epsilon: float, positive: bool) -> None:
        if epsilon < 0:
            raise ViztoolError(f"epsilon is {epsilon}; give at least 0")
        self._epsilon = epsilon
        self._positive = positive
        # What a layer was given and put out, in case that a batch norm follows.
        self._layers: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self.kept: list[Tensor] = []
        """Relevance of what sigmoids and softmaxes give for 0, in the forms of what they put out."""

    @property
    def pays_side_by_side(self) -> bool:
        """Whether several relevances go back together in less time: positive parts are then worked out once for all."""
        return self._positive

    def kept_of_each(self, count: int) -> Tensor:
        """(count,): what was kept of the relevance of each image."""
        return torch.stack([part.reshape(count, -1).sum(1) for part in self.kept]).sum(0)

    def table(self) -> dict[str, Rule]:
        rules: dict[str, Rule] = dict.fromkeys(_ACTIVATIONS.split(), _passed_on)
        rules |= dict.fromkeys(("sigmoid", "hardsigmoid"), self._sigmoid)
        rules |= dict.fromkeys(("softmax", "log_softmax"), self._softmax)
        rules |= dict.fromkeys(_CONVOLUTIONS.split(), self._convolution)
        rules |= {"linear": self._linear, "batch_norm": self._batch_norm}
        return rules | ({"add": _positive_parts_of_sum} if self._positive else {})

    def _sigmoid(self, call: Call) -> Tensor:
        return sigmoid(call, self._keep)

    def _softmax(self, call: Call) -> Tensor:
        return softmax(call, torch.zeros_like(call.x), self._keep)

    def _keep(self, relevance: Tensor) -> None:
        if bool(relevance.any()):  # none goes to a tensor that was overwritten
            self.kept.append(relevance.float())

    def _linear(self, call: Call) -> Tensor:
        return self._stabilised(call.function(*call.args, **call.kwargs), None)

    def _convolution(self, call: Call) -> Any:
        convolve = _Convolution.of(call)
        if convolve is None:
            return NotImplemented
        plain = call.function(*call.args, **call.kwargs)
        return self._stabilised(plain, convolve)

    def _batch_norm(self, call: Call) -> Any:
        bound = inspect.signature(F.batch_norm).bind(*call.args, **call.kwargs)
        bound.apply_defaults()
        given = bound.arguments
        if given["training"] or given["running_var"] is None:
            return NotImplemented  # for which there is no rule
        layer = self._layers.get(call.x)
        if layer is None or layer[2] != call.x._version:
            out: Tensor = call.of(call.x)
            return local(call.x, out.detach(), ratio(out, call.x).detach()) if self._positive else self._shrunk(out)
        plain, convolve, _ = layer
        scale = (given["running_var"] + given["eps"]).rsqrt()
        scale = scale if given["weight"] is None else scale * given["weight"]
        folded = None if convolve is None else convolve.scaled(scale)
        return self._finished(call.of(plain), folded)

    def _stabilised(self, plain: Tensor, convolve: _Convolution | None) -> Tensor:
        out = self._finished(plain, convolve)
        self._layers[out] = (plain, convolve, out._version)
        return out

    def _finished(self, plain: Tensor, convolve: _Convolution | None) -> Tensor:
        if self._positive and convolve is not None:
            parts: Tensor = PositiveParts.apply(convolve.x, plain.detach(), convolve)
            return parts
        return self._shrunk(plain)

    def _shrunk(self, z: Tensor) -> Tensor:
        """R / (z + ε sign z) in place of R / z."""
        size = z.detach().abs()
        return local(z, z.detach(), ratio(size, size + self._epsilon))


class _Convolution:
    """A convolution of `x`, to be repeated with other weights."""

    def __init__(self, function: Callable[..., Tensor], x: Tensor, weight: Tensor, rest: dict[str, Any]) -> None:
        self.function, self.x, self.weight, self.rest = function, x, weight, rest

    @classmethod
    def of(cls, call: Call) -> _Convolution | None:
        names = ["input", "weight", "bias", "stride", "padding"]
        names += ["output_padding", "groups", "dilation"] if "transpose" in call.name else ["dilation", "groups"]
        rest = {**dict(zip(names, call.args, strict=False)), **call.kwargs}
        x, weight = rest.pop("input"), rest.pop("weight")
        rest.pop("bias", None)
        return None if weight.requires_grad else cls(call.function, x, weight, rest)

    def scaled(self, scale: Tensor) -> _Convolution | None:
        """With a factor for each channel that it puts out; None for a transposed one, whose channels are elsewhere."""
        if "transpose" in self.function.__name__:
            return None
        weight = self.weight * scale.to(self.weight).view(-1, *(1,) * (self.weight.dim() - 1))
        return _Convolution(self.function, self.x, weight, self.rest)

    def positive(self, x: Tensor) -> Tensor:
        """Σ (x_i w_ij)⁺, without bias."""
        z = self.function(x.clamp(min=0), self.weight.clamp(min=0), None, **self.rest)
        if bool((x < 0).any()):
            z = z + self.function(x.clamp(max=0), self.weight.clamp(max=0), None, **self.rest)
        return z


class PositiveParts(RuleFunction):
    """A convolution's output, whose relevance the positive parts share; they are worked out on the way back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor, convolve: _Convolution) -> Tensor:
        # Copies: the network may work in place on both.
        ctx.save_for_backward(x.clone(), value.clone())
        ctx.convolve = convolve
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        x, value = ctx.saved_tensors
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            z = ctx.convolve.positive(leaf)
        (multiplier,) = torch.autograd.grad(z, leaf, gradients[0] * ratio(value, z.detach()))
        return multiplier, None, None


def _passed_on(call: Call) -> Any:
    """R_in = R_out, so G_in = G_out · f(x) / x."""
    if call.args[1:] and any(isinstance(one, Tensor) and one.requires_grad for one in call.args[1:]):
        return NotImplemented
    value = call.value()
    return local(call.x, value, ratio(value, call.x.detach()))


def _positive_parts_of_sum(call: Call) -> Any:
    """R_a = a⁺ / (a⁺ + b⁺) R."""
    other = call.args[1] if len(call.args) > 1 else None
    if not isinstance(other, Tensor) or not (other.requires_grad and call.x.requires_grad):
        return NotImplemented
    if call.kwargs.get("alpha", 1) != 1:
        return NotImplemented
    value = call.value()
    stand_in = call.x * (call.x > 0) + other * (other > 0)
    return local(stand_in, value, ratio(value, stand_in.detach()))
