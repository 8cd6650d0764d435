"""Of all that holds at once: what is the cause, and what only follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

from viztool.monitor.held import Held
from viztool.monitor.rules import KINDS

_AT_ONCE = 0.01  # of what varies is left, where it is lost in one layer: a mask or a product with 0 leaves nothing


def badness(held: Held) -> tuple[int, float]:
    """The order of findings, worst first."""
    return KINDS.index(held.rule.kind) if held.rule.kind in KINDS else len(KINDS), -held.degree


def causes(held: list[Held], layers: Mapping[str, Mapping[str, float]]) -> list[Held]:
    """Without what follows from something else that was found. layers: the numbers of all, in the order they ran in."""
    broken = [each for each in held if each.rule.kind == "not-finite"]
    if broken:
        return broken
    place = {name: at for at, name in enumerate(layers)}

    def places(kind: str, least: float = -inf) -> list[int]:
        return [place[each.key] for each in held if each.rule.kind == kind and each.value >= least]

    def behind_constant(each: Held, at: int) -> bool:
        """Whether a constant layer ran before it, and it is given nothing else: there are ways around a layer."""
        given = layers.get(each.key, {}).get("varies given", 0.0)
        return any(
            place[other.key] < at and given < other.rule.threshold
            for other in held
            if other.rule.kind == "constant-output"
        )

    def fades(each: Held) -> bool:
        """Whether what varies is lost a little in each layer, as the gradient is: this one is no worse than others."""
        return each.value > _AT_ONCE * layers.get(each.key, {}).get("varies given", inf)

    def starved(each: Held) -> bool:
        """Whether its gradient is one of those that have vanished."""
        ratio = layers.get(each.key, {}).get("ratio", inf)
        return any(ratio < other.rule.threshold for other in held if other.rule.kind == "vanishing-gradient")

    dead, constant, vanished = places("dead-units", 0.999), places("constant-output"), places("vanishing-gradient")
    gradients: set[str] = set()
    kept: list[Held] = []
    for each in held:
        kind, at = each.rule.kind, place.get(each.key, 0)
        behind = behind_constant(each, at)
        follows = (
            (kind == "constant-output" and (any(other <= at for other in dead) or (vanished and fades(each))))
            or (kind == "collapsed-features" and (behind or at in constant or any(other <= at for other in dead)))
            or (kind == "dead-units" and (behind or any(other < at for other in dead)))
            or (kind == "saturated" and behind)
            or (kind == "vanishing-gradient" and (dead or (constant and each.value == 0)))
            or (kind in ("never-updated", "update-too-small") and any(at <= other for other in [*dead, *vanished]))
            or (starved(each) and (kind == "update-too-small" or each.note == "the steps are 0"))
            or (kind == "exploding-gradient" and kind in gradients)
            # What is constant has no variance to be divided by.
            or (
                kind in ("exploding-gradient", "normalisation-drift")
                and (behind or at in constant or any(other <= at for other in dead))
            )
        )
        if kind == "exploding-gradient":
            gradients.add(kind)
        if not follows:
            kept.append(each)
    return kept
