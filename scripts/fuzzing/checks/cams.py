"""Class activation maps: every method whose definition needs no random numbers, at a layer and by default."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

import viztool
from fuzzing.checks.registry import check
from fuzzing.judge import Judge
from fuzzing.networks import Case
from fuzzing.oracles_cam import ORACLES, Layer, UnsureError
from fuzzing.rules import Plain
from fuzzing.twin import Trace, twin

LOOSE = {"scorecam", "iscam", "ablationcam", "kpcacam", "eigencam", "eigengradcam", "gradcam++", "xgradcam"}
"""Whose weights are quotients, roots or softmaxes of what is float32."""


def layers_with_maps(case: Case, wanted: Trace) -> list[str]:
    """Layers whose layout is known, that the score depends on, with maps larger than 1 × 1."""
    layouts = case.layouts()
    found = []
    score = case.score(wanted.output).sum()
    for name in wanted.order:
        own = wanted.calls[name][-1]
        if not name or not isinstance(own, Tensor):
            continue
        if (own.dim() != 4 and name not in layouts) or name == "head":
            continue
        if name not in layouts and own.shape[2] * own.shape[3] == 1:
            continue
        (gradient,) = wanted.gradients(score, [own])
        if gradient is not None and bool(gradient.any()):
            found.append(name)
    return found


@check("cam")
def heatmaps(case: Case, judge: Judge) -> None:
    """All methods at one layer; the default layer with one of them."""
    plain = twin(case.net, Plain()).eval()
    wanted = Trace(plain, case.x)
    names = layers_with_maps(case, wanted)
    if not names:
        return
    name = case.rng.choice(names)
    for method in ORACLES:
        if method == "cam" and (case.net.head.way not in ("mean", "module", "convolution") or name != "blocks"):
            continue
        _compare(
            case, judge, method, name, Layer(case, plain, name, len(wanted.calls[name]) - 1, case.layouts().get(name))
        )
    _compare(case, judge, case.rng.choice(["gradcam", "scorecam", "hirescam"]), None, None, names)


def _compare(
    case: Case, judge: Judge, method: str, name: str | None, layer: Layer | None, names: list[str] | None = None
) -> None:
    kind = f"cam: {method}" if name else "cam: default layer"
    target: int | list[int] = case.target[0] if len(case.target) == 1 else case.target
    # Of a layer that the score depends on, and of the default one, there always is a map.
    refusable = method in ("cam", "finercam", "shapleycam")
    with judge.trying(kind, f"{method} at {name}", refusable=refusable), torch.random.fork_rng():
        found = viztool.class_activation_map(case.net, case.x, method=method, target=target, layer=name)
        if layer is None:
            chosen = found.layer[0]
            known = Trace(twin(case.net, Plain()).eval(), case.x)
            if names is not None and chosen not in names:
                judge.true("cam: default layer", False, f"{chosen} is none that the score depends on")
                return
            layer = Layer(
                case, twin(case.net, Plain()).eval(), chosen, len(known.calls[chosen]) - 1, case.layouts().get(chosen)
            )
        try:
            expected, size = ORACLES[method](layer)
        except UnsureError:
            return
        tolerance = (2e-4 if method in LOOSE else 2e-5) if case.precise else 3e-3
        judge.close(kind, found.raw, expected, tolerance, size, f"{method} at {layer.name}")
        score = case.score(layer.net(case.x.clone()))
        judge.close("cam: score", found.score, score, 1e-5 if case.precise else 1e-4, what=f"{method} at {layer.name}")


@check("cam, one by one")
def one_by_one(case: Case, judge: Judge) -> None:
    """A batch gives what its images give alone, by the methods with random numbers, too."""
    if len(case.x) == 1:
        return
    wanted = Trace(twin(case.net, Plain()).eval(), case.x)
    names = layers_with_maps(case, wanted)
    if not names:
        return
    name = case.rng.choice(names)
    method = case.rng.choice(["smoothgradcam++", "sscam", "random", "scorecam", "ablationcam", "gradcam"])
    kind = "cam: batch = one by one"
    with judge.trying(kind, f"{method} at {name}"):
        whole = viztool.class_activation_map(case.net, case.x, method=method, target=case.target, layer=name)
        for index, target in enumerate(case.target):
            one = viztool.class_activation_map(
                case.net, case.x[index : index + 1], method=method, target=target, layer=name
            )
            size = float(whole.raw[index].abs().amax())
            judge.close(kind, one.raw[0], whole.raw[index], 1e-2, size, f"{method} at {name}, image {index}")


@check("fullgrad")
def complete(case: Case, judge: Judge) -> None:
    """FullGrad's terms add up to the score, where nothing is multiplied that the network has computed."""
    if not {"straight"} <= case.traits or case.traits & {"gated", "attention", "norm over positions"}:
        return
    kind = "cam: fullgrad adds up"
    with judge.trying(kind, "fullgrad"):
        net = copy.deepcopy(case.net).eval()
        found = viztool.class_activation_map(net, case.x, method="fullgrad", target=case.target)
        told = found.details["completeness"]
        score = case.score(twin(net)(case.x.clone())).detach().double()
        tolerance = 1e-4 if case.precise else 1e-3
        judge.close(kind, torch.tensor(told["sum"]), score, tolerance, 1.0, "sum of terms")
