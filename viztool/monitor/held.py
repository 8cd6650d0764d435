"""A rule that holds in one sample; a finding, if it does in so many."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, log

from viztool.monitor.rules import Rule


@dataclass(frozen=True)
class Held:
    """A rule that holds for a layer in one sample. value: the number. degree: how far it is from the threshold.

    more: how many other layers it stands for.
    """

    rule: Rule
    key: str
    value: float
    degree: float
    more: int = 0
    note: str = ""


def streak_of(held: Held) -> tuple[str, str]:
    """What makes it the same in the next sample."""
    # It may be told of another layer when more is known of where the first number that is none came from.
    key = "" if held.rule.kind == "not-finite" else held.key
    return f"{held.rule.kind}/{held.rule.quantity}", key


def crosses(rule: Rule, value: float) -> bool:
    """Whether a number is beyond the threshold."""
    return isfinite(value) and (value > rule.threshold if rule.sense == "above" else value < rule.threshold)


def degree_of(rule: Rule, value: float) -> float:
    """How far beyond it is, as a logarithm."""
    if rule.threshold <= 0 or value <= 0:
        return 99.0
    distance = log(value / rule.threshold)
    return distance if rule.sense == "above" else -distance
