"""Attributions: by their definitions, and what they must add up to."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch

import viztool
from fuzzing.checks.registry import check
from fuzzing.judge import Judge
from fuzzing.networks import Case
from fuzzing.oracles_attribution import (
    Wanted,
    gradient,
    gradient_x_input,
    guided,
    integrated_gradients,
    lrp_epsilon,
    occlusion,
)
from fuzzing.rules import Plain
from fuzzing.twin import twin
from viztool.heatmaps.heatmap import Heatmap


def _attribution(case: Case, method: str, **options: Any) -> Heatmap:
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return viztool.attribute(case.net, case.x, method=method, target=case.target, **options)


def _compare(
    case: Case, judge: Judge, method: str, oracle: Callable[[Case], Wanted], tolerance: float, **options: Any
) -> None:
    kind = f"attribution: {method}"
    with judge.trying(kind, method):
        found = _attribution(case, method, **options)
        expected, size = oracle(case)
        size = max(size, 1e-3 * float(found.score.abs().amax()))  # of which all is a part, and rounded like it
        judge.close(kind, found.raw, expected, tolerance if case.precise else 3e-3, size, method)


@check("attribution")
def attributions(case: Case, judge: Judge) -> None:
    """Those with a definition that can be followed step by step."""
    baseline = 0.3 * torch.randn_like(case.x)
    window, stride = case.rng.choice([3, 5, 8]), case.rng.choice([2, 3, 7])
    steps = case.rng.choice([3, 8, 20])
    _compare(case, judge, "gradient", gradient, 1e-5)
    _compare(case, judge, "gradient_x_input", gradient_x_input, 1e-5)
    _compare(
        case,
        judge,
        "integrated_gradients",
        lambda c: integrated_gradients(c, baseline, steps),
        5e-4,
        baseline=baseline,
        steps=steps,
    )
    _compare(
        case,
        judge,
        "occlusion",
        lambda c: occlusion(c, baseline, window, stride),
        1e-5,
        baseline=baseline,
        window=window,
        stride=stride,
    )
    _compare(case, judge, "guided_backprop", lambda c: guided(c, True), 1e-5)
    _compare(case, judge, "deconvnet", lambda c: guided(c, False), 1e-5)
    if not case.traits & {"norm over positions", "attention"} and not _normalizes(case):
        _compare(case, judge, "lrp_epsilon", lrp_epsilon, 1e-3, epsilon=1e-12)


def _normalizes(case: Case) -> bool:
    return any(isinstance(layer, torch.nn.LayerNorm) for layer in case.net.modules())


@check("attribution sums")
def sums(case: Case, judge: Judge) -> None:
    """DeepLIFT is complete; LRP conserves the score where there are no biases."""
    net = twin(case.net, Plain()).eval()
    baseline = 0.3 * torch.randn_like(case.x)
    with torch.no_grad():
        score, start = case.score(net(case.x.clone())), case.score(net(baseline.clone()))
    tolerance = 1e-4 if case.precise else 5e-3
    kind = "attribution: deeplift adds up"
    with judge.trying(kind, "deeplift"):
        found = _attribution(case, "deeplift", baseline=baseline)
        total = found.raw.double().sum((1, 2))
        size = float(found.raw.double().abs().sum((1, 2)).amax())
        size = max(size, 1e-3 * float(score.abs().amax()))
        judge.close(kind, total, score - start, tolerance, size, "deeplift")
    if "no biases" not in case.traits or "straight" not in case.traits or case.net.start:
        return
    kind = "attribution: lrp_epsilon conserves"
    with judge.trying(kind, "lrp_epsilon"):
        found = _attribution(case, "lrp_epsilon", epsilon=1e-12)
        total = found.raw.double().sum((1, 2))
        size = float(found.raw.double().abs().sum((1, 2)).amax())
        judge.close(kind, total, score, 10 * tolerance, size, "lrp_epsilon")


@check("attribution, one by one")
def one_by_one(case: Case, judge: Judge) -> None:
    """A batch gives what its images give alone."""
    if len(case.x) == 1:
        return
    kind = "attribution: batch = one by one"
    options: dict[str, dict[str, Any]] = {
        "smoothgrad": {"samples": 5},
        "vargrad": {"samples": 5},
        "rise": {"samples": 40},
        "guided_gradcam": {},
        "lrp_zplus": {},
        "integrated_gradients": {"steps": 5},
        "deeplift": {"baseline": "blur"},
    }
    method = case.rng.choice(list(options))
    with judge.trying(kind, method):
        whole = _attribution(case, method, **options[method])
        for index, target in enumerate(case.target):
            with torch.random.fork_rng():
                one = viztool.attribute(
                    case.net, case.x[index : index + 1], method=method, target=target, **options[method]
                )
            size = float(whole.raw[index].abs().amax())
            judge.close(kind, one.raw[0], whole.raw[index], 1e-2, size, f"{method}, image {index}")
