"""One network through all checks, each of which must leave it as it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from fuzzing.judge import Judge
from fuzzing.networks import Case
from fuzzing.unchanged import differences, state_of

Check = Callable[[Case, Judge], None]


def look(case: Case, judge: Judge, checks: Mapping[str, Check]) -> None:
    """Run the checks, and after each compare the network and its input with what they were."""
    judge.seed = case.seed
    for name, check in checks.items():
        net, x = state_of(case.net), case.x.clone()
        case.rng.seed(case.seed)  # a check draws the same whether or not others ran
        grad = torch.is_grad_enabled()
        with judge.trying(name, "the check"):
            check(case, judge)
        moved = differences(net, state_of(case.net))
        judge.true("left as it was: network", not moved, f"after {name}: {', '.join(moved[:4])}")
        same = torch.equal(x, case.x) and x.stride() == case.x.stride() and case.x.grad is None
        judge.true("left as it was: input", same, f"after {name}")
        judge.true("left as it was: grad mode", torch.is_grad_enabled() == grad, f"after {name}")
        case.x = x
        torch.set_grad_enabled(grad)
