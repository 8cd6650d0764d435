"""Capture: every layer's values, bit for bit, and gradients; maps; stopping early."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

import viztool
from fuzzing.blocks import Act, Layout, Takes
from fuzzing.checks.registry import check
from fuzzing.judge import Judge
from fuzzing.networks import Case
from fuzzing.twin import Trace, flat, twin


def _seeded(net: nn.Module, x: Tensor) -> Any:
    torch.manual_seed(1)
    return net(x)


@check("capture")
def values_and_gradients(case: Case, judge: Judge) -> None:
    """All layers, in the mode that the network is in, beside a twin that overwrites nothing."""
    net = copy.deepcopy(case.net)  # a forward in training mode moves its statistics
    torch.manual_seed(1)
    wanted = Trace(twin(net), case.x)
    plain = _seeded(twin(net), case.x.clone())
    everything = case.rng.random() < 0.5
    with judge.trying("capture: values", "all layers", refusable=False):
        names = None
        if everything:
            names = [name for name in wanted.order if name]
        with viztool.capture(net, names, grads=True) as acts:
            output = _seeded(net, case.x.clone())
            case.score(output).sum().backward()
        leaves = [name for name, layer in case.net.named_modules() if name in wanted.calls and is_leaf(layer)]
        judge.true("capture: which layers", set(acts.layers) >= set(leaves if names is None else names), "some miss")
        same = all(torch.equal(one, two) for one, two in zip(flat(output), flat(plain), strict=True))
        judge.true("capture: output", same, "the output is another one")
        for name in acts.layers:
            if name in wanted.calls:
                _compare(case, judge, name, acts, wanted)


def _compare(case: Case, judge: Judge, name: str, acts: Any, wanted: Trace) -> None:
    calls = acts.calls(name)
    score = case.score(wanted.output).sum()
    judge.true("capture: calls", len(calls) == len(wanted.calls[name]), f"{name}: {len(calls)}")
    for index, (got, own) in enumerate(zip(calls, wanted.calls[name], strict=False)):
        mine, theirs = flat(got), flat(own)
        judge.true("capture: values", len(mine) == len(theirs), f"{name}: {len(mine)} tensors for {len(theirs)}")
        gradients = wanted.gradients(score, theirs)
        found: list[Tensor | None] = [None] * len(theirs)
        if any(gradient is not None for gradient in gradients):
            with judge.trying("capture: gradients", name, refusable=False):
                got_gradients = acts.grad(name, index)
                found = [got_gradients] if isinstance(got_gradients, Tensor) else _in_order(got_gradients)
        for one, two, gradient, other in zip(mine, theirs, gradients, found, strict=False):
            judge.close("capture: values", one, two, 0.0, what=f"{name} call {index}")
            if gradient is not None:
                if other is None:
                    judge.true("capture: gradients", False, f"{name}: none arrived")
                else:
                    tolerance = 1e-9 if case.precise else 2e-4
                    judge.close("capture: gradients", other, gradient, tolerance, what=f"{name} call {index}")


def _in_order(gradients: Any) -> list[Tensor | None]:
    if isinstance(gradients, dict):
        return [one for item in gradients.values() for one in _in_order(item)]
    if isinstance(gradients, list | tuple):
        return [one for item in gradients for one in _in_order(item)]
    return [gradients]


@check("capture, one layer")
def stopped_or_reduced(case: Case, judge: Judge) -> None:
    """One layer, ended early, detached, reduced: the same values."""
    net = twin(case.net).eval()
    wanted = Trace(net, case.x)
    own = copy.deepcopy(case.net).eval()
    names = [each for each in wanted.order if each and isinstance(wanted.calls[each][0], Tensor)]
    name = case.rng.choice(names)
    first = wanted.calls[name][0]
    with judge.trying("capture: stop", name, refusable=False):
        with torch.no_grad(), viztool.capture(own, name, stop=True) as acts:
            own(case.x.clone())
        judge.close("capture: stop", acts.calls(name)[0], first, 0.0, what=name)
    with judge.trying("capture: reduce", name, refusable=False):
        with viztool.capture(own, name, reduce=lambda tensor: tensor.sum(), detach=True) as acts:
            own(case.x.clone())
        for got, call in zip(acts.calls(name), wanted.calls[name], strict=True):
            judge.close("capture: reduce", got, call.sum(), 0.0, what=name)
    with judge.trying("capture: copy=False", name):
        with viztool.capture(own, name, copy=False, detach=True) as acts:
            own(case.x.clone())
        judge.close("capture: copy=False", acts[name], wanted.calls[name][-1], 0.0, what=name)


@check("maps")
def maps(case: Case, judge: Judge) -> None:
    """`maps=True`: (N, C, h, w) of each layer whose layout the grammar knows."""
    wanted = Trace(twin(case.net).eval(), case.x)
    layouts = case.layouts()
    net = copy.deepcopy(case.net).eval()
    with judge.trying("maps", "all layers", refusable=False):
        # Of a layer that says nothing of itself only the shape tells.
        mute = {name for name, layer in net.named_modules() if type(layer) in (Act, Takes) and is_leaf(layer)}
        known = {
            name: as_maps(calls[-1], name, layouts) for name, calls in wanted.calls.items() if name and name not in mute
        }
        names = [name for name, expected in known.items() if expected is not None]
        with torch.no_grad(), viztool.capture(net, names, maps=True) as acts:
            net(case.x.clone())
        for name, expected in known.items():
            if expected is not None:
                judge.close("maps", acts[name], expected, 0.0, what=f"{name} {type(net.get_submodule(name)).__name__}")


def is_leaf(layer: nn.Module) -> bool:
    """Whether a layer holds no other; what makes a parametrized layer's weight is none."""
    return all(name == "parametrizations" for name, _ in layer.named_children())


def as_maps(own: object, name: str, layouts: dict[str, Layout]) -> Tensor | None:
    """The maps in what a layer puts out, by what the grammar knows of it; None if it knows of none."""
    if not isinstance(own, Tensor):
        return None
    if name not in layouts:
        return own if own.dim() == 4 else None
    how, prefix, sides = layouts[name]
    if how == "last":
        return own.permute(0, 3, 1, 2)
    return own[:, prefix:].transpose(1, 2).reshape(len(own), own.shape[2], *sides)
