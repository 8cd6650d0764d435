"""Of all that holds at once: what is the cause, and what only follows from it."""

from __future__ import annotations

from math import inf

from viztool.monitor.held import Held
from viztool.monitor.rules import KINDS


def badness(held: Held) -> tuple[int, float]:
    """The order of findings, worst first."""
    return KINDS.index(held.rule.kind) if held.rule.kind in KINDS else len(KINDS), -held.degree


def causes(held: list[Held], order: list[str]) -> list[Held]:
    """Without what follows from something else that was found."""
    broken = [each for each in held if each.rule.kind == "not-finite"]
    if broken:
        return broken
    place = {name: at for at, name in enumerate(order)}

    def places(kind: str, least: float = -inf) -> list[int]:
        return [place[each.key] for each in held if each.rule.kind == kind and each.value >= least]

    dead, constant, vanished = places("dead-units", 0.999), places("constant-output"), places("vanishing-gradient")
    gradients: set[str] = set()
    kept: list[Held] = []
    for each in held:
        kind, at = each.rule.kind, place.get(each.key, 0)
        follows = (
            (kind == "constant-output" and any(other <= at for other in dead))
            or (kind == "collapsed-features" and any(other <= at for other in [*dead, *constant]))
            or (kind == "dead-units" and any(other < at for other in [*dead, *constant]))
            or (kind == "saturated" and any(other < at for other in constant))
            or (kind == "vanishing-gradient" and (dead or (constant and each.value == 0)))
            or (kind in ("never-updated", "update-too-small") and any(at <= other for other in [*dead, *vanished]))
            or (kind == "exploding-gradient" and kind in gradients)
            # What is constant has no variance to be divided by.
            or (
                kind in ("exploding-gradient", "normalisation-drift")
                and any(other <= at for other in [*dead, *constant])
            )
        )
        if kind == "exploding-gradient":
            gradients.add(kind)
        if not follows:
            kept.append(each)
    return kept
