"""The number that proves a finding, beside its threshold, in words."""

from __future__ import annotations

from viztool.monitor.layers_by_name import CALL
from viztool.monitor.rules import Rule
from viztool.monitor.sample import Sample
from viztool.render.numbers import number, percent


def told(rule: Rule, key: str, value: float, more: int, note: str, sample: Sample) -> str:
    """One sentence without its full stop."""
    numbers = sample.layers.get(key, {})
    threshold, over = number(rule.threshold, ".3g"), f"over {rule.samples} samples"
    others = "" if not more else f"; so in {more} other layer{'s' if more > 1 else ''}"
    call = key.partition(CALL)[2]
    called = f" (call {call})" if call else ""
    figure = number(value, ".3g")
    if rule.kind == "not-finite" and note == "unknown":
        return "the gradient of the loss became NaN or infinite between samples; the first layer is not known"
    if rule.kind == "not-finite":
        where = {"input": "in the input", "output": "in its output", "gradient": "in the gradient at its output"}
        values = "1 value is" if value == 1 else f"{number(value, '.0f')} values are"
        return f"{values} NaN or infinite {where.get(note, note)}{called}{others}"
    if rule.kind == "input-not-normalised":
        return f"the input has {note} (threshold {threshold} for either, {over})"
    if rule.kind == "dead-units":
        units, images = round(numbers["units"]), round(numbers["dead images"])
        return (
            f"{round(value * units)} of {units} units{called} were never above 0 in {images} images "
            f"({percent(value)}, threshold {percent(rule.threshold)}); "
            f"the rate of each is at most {number(3 / images, '.2g')}"
        )
    if rule.kind == "saturated":
        return f"{percent(value)} of its values{called} are at a bound (threshold {percent(rule.threshold)}, {over})"
    if rule.kind in ("vanishing-gradient", "exploding-gradient") and rule.quantity == "ratio":
        return (
            f"the gradient at its output{called} is {figure} × that at the last layer "
            f"(threshold {threshold}, {over}){others}"
        )
    if rule.quantity == "surge":
        return f"the gradient of its weights is {figure} × what it was (threshold {threshold}, {over}){others}"
    if rule.kind == "never-updated":
        before = f", nor did {more} layer{'s' if more > 1 else ''} before it" if more else ""
        return f"none of its parameters moved in the steps of {rule.samples} samples: {note}{before}"
    if rule.kind == "collapsed-features":
        units = round(numbers.get("units", 0))
        ways = f"{figure} direction{'' if figure == '1' else 's'}"
        return f"{units} units{called} vary in {ways} (threshold {threshold}, {over}){others}"
    if rule.kind == "constant-output":
        return f"its output{called} differs between images by {figure} of its size (threshold {threshold}, {over})" + (
            "" if not more else f"; so in {more} layer{'s' if more > 1 else ''} after it"
        )
    if rule.kind == "normalisation-drift":
        return f"its running statistics are {figure} standard deviations off (threshold {threshold}, {over})"
    if rule.quantity == "stride":
        return f"a step changes its weights by {figure} of their first size (threshold {threshold}, {over}){others}"
    return f"a step changes its weights by {figure} of their size (threshold {threshold}, {over}){others}"
