"""From samples to findings: what holds over so many of them in a row; gone when it no longer holds.

Dead units are told from 3 samples, and from more where these have fewer than 32 images: of batches of 2, from 16. With
none in 32, a unit is above 0 in at most 9 % of all images; from 32 samples without 32 images nothing is told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite, nan
from statistics import median
from typing import Any

import numpy as np

from viztool.monitor.causes import badness, causes
from viztool.monitor.evidence import told
from viztool.monitor.held import Held, crosses, degree_of, streak_of
from viztool.monitor.layers_by_name import layer_of
from viztool.monitor.measured import ENOUGH, Values
from viztool.monitor.place import crossing
from viztool.monitor.rules import RULES, Rule
from viztool.monitor.sample import Sample
from viztool.render.numbers import number


@dataclass(frozen=True)
class Finding:
    """Something that goes wrong.

    kind: see `RULES`. layer: its name in the network. evidence: the number that proves it, beside the threshold.
    advice: what to do.
    """

    kind: str
    layer: str
    since_step: int
    evidence: str
    advice: str

    def __str__(self) -> str:
        return (
            f"{self.kind} in {self.layer or 'the network'} since step {self.since_step}: {self.evidence}. {self.advice}"
        )


@dataclass
class _Streak:
    since: int
    count: int = 1


class Book:
    """Follows the samples of one training. Its memory does not grow with them: of the last 32 at most it keeps all."""

    def __init__(self, rules: Sequence[Rule] = RULES) -> None:
        self.rules = tuple(rules)
        self.findings: list[Finding] = []
        self._streaks: dict[tuple[str, str], _Streak] = {}
        self._fewest = max([_WINDOW, *(rule.samples for rule in self.rules)])
        self._window: deque[Sample] = deque(maxlen=max(_FEWEST_IMAGES, self._fewest))
        self._gradients: dict[str, deque[float]] = {}
        self._first: dict[str, tuple[int, float, float]] = {}
        self._largest: dict[str, float] = {}
        self._sizes: dict[str, float] = {}
        self._rates: float = 0.0
        self._origin: list[Held] = []

    def add(self, sample: Sample) -> tuple[list[Finding], list[Finding]]:
        """Take a sample in; returns the findings that are new, and those that are gone."""
        self._window.append(sample)
        while len(self._window) > self._fewest and _images(list(self._window)[1:]) >= _FEWEST_IMAGES:
            self._window.popleft()
        self._complete(sample)
        held = [each for rule in self.rules for each in self._held(rule, sample)]
        self._count(held, sample.step)
        ripe = causes([each for each in held if self._is_ripe(each)], sample.layers)
        found = [self._finding(each, sample) for each in sorted(ripe, key=badness)]
        before, self.findings = self.findings, found
        names, now = ({(each.kind, each.layer) for each in some} for some in (before, found))
        return (
            [each for each in found if (each.kind, each.layer) not in names],
            [each for each in before if (each.kind, each.layer) not in now],
        )

    def state(self) -> dict[str, Any]:
        """What a resumed training needs to go on."""
        return {
            "streaks": [[*key, each.since, each.count] for key, each in self._streaks.items()],
            "gradients": {name: list(values) for name, values in self._gradients.items()},
            "first": {name: list(values) for name, values in self._first.items()},
            "largest": dict(self._largest),
            "sizes": dict(self._sizes),
            "rates": self._rates,
            "window": [
                [each.step, {name: [values.tolist(), images] for name, (values, images) in each.tops.items()}]
                for each in self._window
            ],
            "findings": [
                [each.kind, each.layer, each.since_step, each.evidence, each.advice] for each in self.findings
            ],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self._streaks = {(kind, key): _Streak(since, count) for kind, key, since, count in state["streaks"]}
        self._gradients = {name: deque(values, maxlen=_PAST) for name, values in state["gradients"].items()}
        self._first = {name: (count, mean, sd) for name, (count, mean, sd) in state["first"].items()}
        self._largest, self._sizes = dict(state["largest"]), dict(state["sizes"])
        self._rates = state["rates"]
        self.findings = [Finding(*each) for each in state["findings"]]
        self._window.clear()
        for step, tops in state["window"]:
            units = {name: (np.asarray(values), images) for name, (values, images) in tops.items()}
            self._window.append(Sample(step, 0.0, tops=units))

    def _complete(self, sample: Sample) -> None:
        """Put in what takes more than one sample to know: drift, surge, and units that stay dead."""
        for name, numbers in sample.layers.items():
            if isfinite(numbers.get("mean", nan)):
                count, mean, sd = self._first.get(name, (0, 0.0, 0.0))
                if count < _WINDOW:
                    share = 1 / (count + 1)
                    mean, sd = mean + share * (numbers["mean"] - mean), sd + share * (numbers["sd"] - sd)
                    self._first[name] = (count + 1, mean, sd)
                numbers["drift"] = abs(numbers["mean"] - mean) / sd if sd > 0 else nan
            if "weight gradient" in numbers:
                past = self._gradients.setdefault(name, deque(maxlen=_PAST))
                before = list(past)[: -_WINDOW + 1]
                if len(before) >= _WINDOW and float(np.median(before)) > 0:
                    numbers["surge"] = numbers["weight gradient"] / float(np.median(before))
                if isfinite(numbers["weight gradient"]):
                    past.append(numbers["weight gradient"])
            if numbers.get("size", 0) > 0:
                first = self._sizes.setdefault(name, numbers["size"])
                numbers["stride"] = numbers["change"] / max(min(first, numbers["size"]), numbers["usual"])
            if name in sample.tops:
                recent = self._recent(name)
                highest = np.max([top for top, _ in recent], 0)
                numbers["dead"] = float((highest <= 0).mean())
                numbers["units"] = float(len(highest))
                numbers["dead images"] = float(sum(images for _, images in recent))
        rates = [group["lr"] for group in sample.groups if "lr" in group]
        self._rates = max([self._rates, *rates])

    def _recent(self, name: str) -> list[tuple[Values, int]]:
        """The largest values of a layer's units in the last samples: 3, or as many as it takes to have 32 images."""
        tops = [each.tops[name] for each in reversed(self._window) if name in each.tops]
        found: list[tuple[Values, int]] = []
        for top, images in tops:
            if len(found) >= _WINDOW and sum(count for _, count in found) >= _FEWEST_IMAGES:
                break
            if top.shape == tops[0][0].shape:
                found.append((top, images))
        return found

    def _held(self, rule: Rule, sample: Sample) -> list[Held]:
        if rule.kind == "input-not-normalised":
            return self._input(rule, sample)
        if rule.kind == "never-updated":
            return _idle(rule, sample)
        if rule.kind == "not-finite":
            # From a step on everything is no number: what counts is where it began.
            found = _first_not_finite(rule, sample)
            self._origin = (self._origin if sample.blamed is None and self._origin else found) if found else []
            return self._origin
        values = {name: numbers[rule.quantity] for name, numbers in sample.layers.items() if rule.quantity in numbers}
        crossed = {name: value for name, value in values.items() if crosses(rule, value)}
        held = {name: value for name, value in crossed.items() if self._counts(rule, name, sample)}
        if not held:
            return []
        if rule.quantity in ("ratio", "surge"):
            values = {name: value for name, value in values.items() if "mean" in sample.layers[name]}  # those that ran
            held = {name: value for name, value in held.items() if name in values}
            if not held:
                return []
            name = crossing(values, list(held), rule.sense == "below")
            return [Held(rule, name, held[name], degree_of(rule, held[name]), len(held) - 1)]
        if rule.kind == "constant-output":
            return _constant(rule, held, crossed)
        if rule.kind == "collapsed-features":
            name = next(iter(held))  # what comes after it follows from it
            return [Held(rule, name, held[name], degree_of(rule, held[name]), len(held) - 1)]
        if rule.quantity in ("update", "stride") and len(held) >= _MANY and 2 * len(held) > len(values):
            name = max(held, key=lambda each: degree_of(rule, held[each]))
            return [Held(rule, name, held[name], degree_of(rule, held[name]), len(held) - 1)]
        return [Held(rule, name, value, degree_of(rule, value)) for name, value in held.items()]

    def _counts(self, rule: Rule, name: str, sample: Sample) -> bool:
        """Whether a number that crosses the threshold speaks against this layer."""
        numbers = sample.layers[name]
        outputs = [each for each, known in sample.layers.items() if "mean" in known]
        if rule.kind == "dead-units":
            return len(self._window) >= rule.samples and numbers["dead images"] >= _FEWEST_IMAGES
        if rule.kind in ("saturated", "collapsed-features") and name in outputs[-_ENDING[rule.kind] :]:
            return False  # an answer may be sure of itself, and two classes are one direction
        if rule.kind == "collapsed-features":
            enough = numbers.get("units", 0) >= _FEWEST_UNITS and numbers["rank images"] >= ENOUGH
            own = numbers.get("rank given", inf) >= rule.threshold  # else it hands on what it is given
            return enough and own and numbers.get("varies", 1) > _VARIES
        if rule.kind == "constant-output":
            if sample.network.get("images", 0) / max(1, sample.network.get("forwards", 1)) <= 1:
                return False
            # What is given nothing of the image is not where it is lost, unless the network itself is given none.
            alike = sample.network.get("input varies", 1.0) < rule.threshold
            return name == outputs[0] if alike else not numbers.get("varies given", 1.0) < rule.threshold
        if rule.kind == "update-too-small":
            # One that has learned and is done is no fault, nor is a schedule that ends at 0.
            largest = self._largest[name] = max(self._largest.get(name, 0.0), numbers["update"])
            rates = [group["lr"] for group in sample.groups if "lr" in group]
            usual = median([update for each in sample.layers.values() if (update := each.get("update", 0)) > 0] or [0])
            if usual > rule.threshold and numbers["update"] > _APART * usual:
                return False  # all learn slowly, and it a little more so
            return largest < 10 * rule.threshold and numbers["update"] > 0 and max([0.0, *rates]) > 0.01 * self._rates
        return True

    def _input(self, rule: Rule, sample: Sample) -> list[Held]:
        mean, sd = sample.network.get("input mean", 0.0), sample.network.get("input sd", 0.0)
        first = next((name for name, numbers in sample.layers.items() if "mean" in numbers), "")
        size = max(abs(mean), sd)
        if not crosses(rule, size):
            return []
        note = f"mean {number(mean, '.3g')}, standard deviation {number(sd, '.3g')}"
        return [Held(rule, first, size, degree_of(rule, size), note=note)]

    def _count(self, held: Iterable[Held], step: int) -> None:
        streaks: dict[tuple[str, str], _Streak] = {}
        for each in held:
            key = streak_of(each)
            known = self._streaks.get(key)
            begun = step
            if each.rule.kind == "dead-units":  # its number is of all samples of the window
                count = max(each.rule.samples, len(self._recent(each.key)))
                begun = list(self._window)[-count].step
            streaks[key] = _Streak(begun) if known is None else _Streak(known.since, known.count + 1)
        self._streaks = streaks

    def _is_ripe(self, each: Held) -> bool:
        streak = self._streaks[streak_of(each)]
        enough = 1 if each.rule.kind == "dead-units" else each.rule.samples
        return streak.count >= enough and self._window[-1].step - streak.since >= each.rule.steps

    def _finding(self, each: Held, sample: Sample) -> Finding:
        since = self._streaks[streak_of(each)].since
        evidence = told(each.rule, each.key, each.value, each.more, each.note, sample)
        return Finding(each.rule.kind, layer_of(each.key), since, evidence, each.rule.advice)


def shown_by(findings: Iterable[Finding]) -> list[str]:
    """The quantities in which findings can be seen, worst first."""
    seen = [rule.quantity for each in findings for rule in RULES if rule.kind == each.kind]
    return list(dict.fromkeys("update" if name == "moved" else name for name in seen))


_WINDOW = 3  # samples that a unit must be dead in, and that a drift begins with
_PAST = 24  # gradient norms that a surge is told from
_APART = 1e-3  # of the others' update: the first layers of squeeze-and-excitation have 8e-3 in trainings that work
_MANY = 4  # layers of which a fault is one of all
_FEWEST_IMAGES = 32
_FEWEST_UNITS = 8  # chance alone makes three or four units say nearly the same: the first layers of small generators
_VARIES = 1e-3
_ENDING = {"saturated": 2, "collapsed-features": 1}


def _images(samples: Iterable[Sample]) -> int:
    """How many images the layer with the fewest was looked at with, of those in which units may be dead."""
    images: dict[str, int] = {}
    for sample in samples:
        for name, (_, count) in sample.tops.items():
            images[name] = images.get(name, 0) + count
    return min(images.values(), default=_FEWEST_IMAGES)


def _constant(rule: Rule, held: Mapping[str, float], crossed: Mapping[str, float]) -> list[Held]:
    """Each layer in which the image is lost, with how many are behind it, up to the next, that have it no more."""
    order = list(crossed)
    places = [*map(order.index, held), len(order)]
    return [
        Held(rule, name, value, degree_of(rule, value), after - at - 1)
        for (name, value), at, after in zip(held.items(), places, places[1:], strict=False)
    ]


def _first_not_finite(rule: Rule, sample: Sample) -> list[Held]:
    if sample.network.get("input not finite", 0) > 0:
        return [Held(rule, next(iter(sample.layers), ""), sample.network["input not finite"], 99.0, note="input")]
    if sample.blamed is not None:
        name, count, where = sample.blamed
        return [Held(rule, name, count, 99.0, note=where)]
    outputs = [name for name, numbers in sample.layers.items() if numbers.get("not finite", 0) > 0]
    if outputs:
        return [Held(rule, outputs[0], sample.layers[outputs[0]]["not finite"], 99.0, len(outputs) - 1, "output")]
    # A GradScaler leaves out a step with such gradients: of one that was made they are a fault. Backwards, the first
    # layer is the last.
    if not any(not isfinite(numbers.get("weight gradient", 0.0)) for numbers in sample.layers.values()):
        return []
    bad = [name for name, numbers in sample.layers.items() if _bad_gradient(numbers)]
    bad = [name for name in bad if "mean" in sample.layers[name]] or bad
    count = sample.layers[bad[-1]].get("gradient not finite", inf)
    return [Held(rule, bad[-1], count, 99.0, len(bad) - 1, "gradient")]


def _bad_gradient(numbers: Mapping[str, float]) -> bool:
    return numbers.get("gradient not finite", 0) > 0 or not isfinite(numbers.get("weight gradient", 0.0))


def _idle(rule: Rule, sample: Sample) -> list[Held]:
    """Layers in a row that no gradient reaches have one cause, at the end of the row; others stand for themselves."""
    order = [name for name, numbers in sample.layers.items() if "moved" in numbers]
    held: list[Held] = []
    row = 0
    for at, name in enumerate(order):
        reason = sample.idle.get(name)
        if reason is None:
            row = 0
            continue
        following = order[at + 1] if at + 1 < len(order) else None
        if reason == "no gradient" and following is not None and sample.idle.get(following) == reason:
            row += 1
            continue
        held.append(Held(rule, name, 0.0, 99.0, row, reason))
        row = 0
    return held
