"""The checks by name."""

from __future__ import annotations

from collections.abc import Callable

from fuzzing.judge import Judge
from fuzzing.networks import Case

Check = Callable[[Case, Judge], None]

CHECKS: dict[str, Check] = {}


def check(name: str) -> Callable[[Check], Check]:
    """Add a check: a function that compares, and tells the judge."""

    def add(function: Check) -> Check:
        CHECKS[name] = function
        return function

    return add
