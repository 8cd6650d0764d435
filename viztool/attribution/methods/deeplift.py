"""DeepLIFT: what each pixel's difference from the baseline adds to the score's difference."""

from __future__ import annotations

from collections import deque
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from viztool.attribution.graph import require_rules
from viztool.attribution.passes import under, whole
from viztool.attribution.registry import method
from viztool.attribution.rules import Call, Rule, RuleFunction, Rules, local, ratio
from viztool.attribution.squashing import softmax
from viztool.errors import ModelError
from viztool.heatmaps.balance import balance
from viztool.targets.question import Question
from viztool.tensors.tree import tensors_in

_ELEMENTWISE = (
    "relu relu6 hardtanh threshold clamp clamp_min clamp_max leaky_relu prelu elu celu selu silu hardswish gelu mish "
    "tanh sigmoid hardsigmoid softplus softsign logsigmoid exp log sqrt rsqrt square abs reciprocal"
)

_NEAR = 1e-6
"""Of a value: differences below this are mostly rounding, and the derivative stands for their quotient."""


@method("deeplift", "DeepLIFT (rescale)", "Shrikumar et al. 2017", unit="score", baseline=True)
def deeplift(question: Question, baseline: Tensor) -> Tensor:
    """(x − b) · m, m the gradient with Δf / Δz in place of the derivative of each nonlinear function f(z).

    Δ is the difference between the input and the baseline. Of a max pool, the difference goes to the winner; of
    a product of two, Δ(uv) = Δu (v + v₀)/2 + Δv (u + u₀)/2; of a softmax, the mean of its derivative on the way
    from the baseline stands for it. The sum is f(x) − f(b), and how near it came stands in
    `.details["completeness"]`.
    """
    rescale = _Rescale()
    with Rules(rescale.noting()):
        origin = question.forward(baseline)
    rules = Rules(rescale.table())
    passed = under(rules, question)
    require_rules(passed.ends.values(), "deeplift", rules.hidden)
    attribution = (question.x - baseline) * passed.multipliers()
    difference = question.score - question.target.scores(origin)[0].float()
    shared = passed.begins_with(list(tensors_in(origin)))
    question.details["completeness"] = balance(attribution, *whole(difference, shared, "f(x) − f(baseline)"))
    return attribution


class _Rescale:
    """Notes what nonlinear functions were given by the baseline, and gives it back call by call."""

    def __init__(self) -> None:
        self._noted: deque[tuple[str, Any]] = deque()

    def noting(self) -> dict[str, Rule]:
        return dict.fromkeys(self.table(), self._note)

    def table(self) -> dict[str, Rule]:
        pools: dict[str, Rule] = dict.fromkeys(("max_pool2d", "adaptive_max_pool2d"), self._pool)
        softmaxes: dict[str, Rule] = dict.fromkeys(("softmax", "log_softmax"), self._softmax)
        elementwise: dict[str, Rule] = dict.fromkeys(_ELEMENTWISE.split(), self._elementwise)
        return elementwise | pools | softmaxes | {"mul": self._product}

    def _note(self, call: Call) -> Any:
        self._noted.append((call.name, [one.clone() if isinstance(one, Tensor) else one for one in call.args]))
        return NotImplemented

    def _baseline(self, call: Call) -> list[Any]:
        name, args = self._noted.popleft() if self._noted else ("", [])
        if name != call.name or args[0].shape != call.x.shape:
            raise ModelError("deeplift needs a network that runs alike on the input and on the baseline; this does not")
        return args

    def _elementwise(self, call: Call) -> Any:
        before = self._baseline(call)[0]
        x, value = call.x.detach(), call.value()
        start = Call(call.name, call.function, (before, *call.args[1:]), call.kwargs).value()
        change = x - before
        near = change.abs() <= _NEAR * torch.maximum(x.abs(), before.abs())
        slope = ratio(value - start, change)
        if bool(near.any()):
            with torch.enable_grad():
                leaf = x.clone().requires_grad_()
                derivative = torch.autograd.grad(call.of(leaf.clone()).sum(), leaf)[0]
            slope = torch.where(near, derivative, slope)
        return local(call.x, value, slope)

    def _product(self, call: Call) -> Any:
        before = self._baseline(call)
        u, v = call.args[:2]
        if not isinstance(v, Tensor) or not (u.requires_grad and v.requires_grad):
            return NotImplemented
        stand_in = u * ((v + before[1]) / 2).detach() + v * ((u + before[0]) / 2).detach()
        # Multiplied in place, it must not take along the tensor that is overwritten.
        return local(stand_in, call.value())

    def _softmax(self, call: Call) -> Tensor:
        return softmax(call, self._baseline(call)[0], lambda relevance: None)

    def _pool(self, call: Call) -> Any:
        before = self._baseline(call)[0]
        if call.kwargs.get("return_indices"):
            return NotImplemented
        kwargs = {**call.kwargs, "return_indices": True}
        x = call.x.detach()
        pool = F.max_pool2d if call.name == "max_pool2d" else F.adaptive_max_pool2d
        args = call.args[1:]
        with torch.no_grad():
            value, at = pool(x, *args, **kwargs)
            start, at_start = pool(before, *args, **kwargs)
        # The winner of the larger one: there the difference is at least as large.
        where = torch.where(value >= start, at, at_start)
        change = (x - before).flatten(-2).gather(-1, where.flatten(-2)).view_as(value)
        factor = torch.where(change == 0, 1, ratio(value - start, change))
        pooled: Tensor = Pooled.apply(call.x, value, where, factor)
        return pooled


class Pooled(RuleFunction):
    """`value`, of which each one's gradient goes to one place of `x` (..., H, W), times `factor`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor, where: Tensor, factor: Tensor) -> Tensor:
        ctx.save_for_backward(where, factor)
        ctx.shape = x.shape
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        where, factor = ctx.saved_tensors
        empty = gradients[0].new_zeros(ctx.shape).flatten(-2)
        spread = empty.scatter_add(-1, where.flatten(-2), (gradients[0] * factor).flatten(-2))
        return spread.view(ctx.shape), None, None, None
