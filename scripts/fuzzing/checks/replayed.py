"""Replay: what comes after a layer, for other activations of it."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from fuzzing.checks.registry import check
from fuzzing.judge import Judge
from fuzzing.networks import Case
from fuzzing.twin import Trace, run, twin
from viztool.hooks.replay import Replay


def with_instead(net: nn.Module, x: Tensor, layer: str, last: int, instead: Tensor) -> object:
    """A twin's output where the last call of a layer puts out something else."""

    def visit(name: str, call: int, output: object) -> object:
        return instead.clone() if name == layer and call == last else None

    return run(net, x.clone(), visit)


@check("replay")
def replays(case: Case, judge: Judge) -> None:
    """Some layers, their activations as they are, changed, and twice as many images."""
    plain = twin(case.net).eval()
    wanted = Trace(plain, case.x)
    net = copy.deepcopy(case.net).eval()
    names = [name for name in wanted.order if name and isinstance(wanted.calls[name][-1], Tensor)]
    for name in case.rng.sample(names, min(3, len(names))):
        calls = wanted.calls[name]
        with judge.trying("replay", name), torch.no_grad():
            given = case.x.clone()
            rest = Replay(net, given, name)
            judge.true("replay: input as it was", torch.equal(given, case.x), name)
            judge.close("replay: activations", rest.activations, calls[-1], 0.0, what=name)
            same = case.score(rest(rest.activations.clone()))
            judge.close("replay", same, case.score(wanted.output), 0.0, what=f"{name} as it was")
            other = torch.randn_like(calls[-1])
            expected = case.score(with_instead(plain, case.x, name, len(calls) - 1, other))
            tolerance = 1e-9 if case.precise else 1e-4
            got = case.score(rest(other.clone()))
            judge.close("replay", got, expected, tolerance, what=f"{name} changed")
            two = rest(torch.cat([other, calls[-1]]))
            scores = two["logits"] if isinstance(two, dict) else two
            batch = len(case.x)
            both = torch.cat([case.score(scores[:batch]), case.score(scores[batch:])])
            once = torch.cat([expected, case.score(wanted.output)])
            judge.close("replay", both, once, tolerance, what=f"{name} two batches")
            judge.true("replay: input as it was", torch.equal(given, case.x), f"{name} after replays")
