"""Gradient ascent: objectives by their definitions, and where one step from a picture leads."""

from __future__ import annotations

import copy
from functools import partial

import torch
from torch import Tensor, nn

from fuzzing.checks.captured import as_maps
from fuzzing.checks.registry import check
from fuzzing.judge import Judge
from fuzzing.networks import Case
from fuzzing.rules import Plain
from fuzzing.twin import Trace, twin
from viztool.kernels import Progress, maximize, objectives
from viztool.kernels.parameterizations import Pixels
from viztool.kernels.transforms import Transforms
from viztool.models import wrap_model

MEAN, STD = 0.4, 0.3
RATE = 0.05


@check("ascent")
def one_step(case: Case, judge: Judge) -> None:
    """A channel, a unit, a logit: the score of the picture, and the picture after a step of Adam."""
    if case.x.shape[1] not in (1, 3):
        return
    plain = twin(case.net, Plain()).eval()
    layouts = case.layouts()
    # Not near 0 and 1, where a float32 pixel says little of its logit.
    start = 0.1 + 0.8 * torch.rand(1, *case.x.shape[1:], generator=torch.Generator().manual_seed(case.seed))
    picture = start.to(case.x.dtype)
    wanted = Trace(plain, (picture - MEAN) / STD)
    known = {
        name: maps
        for name, calls in wanted.calls.items()
        if name and not name.startswith("head") and (maps := as_maps(calls[-1], name, layouts)) is not None
        if len(calls) == 1
    }
    if not known:
        return
    layer = case.rng.choice(list(known))
    maps = known[layer]
    index = case.rng.randrange(maps.shape[1])
    row, column = case.rng.randrange(maps.shape[2]), case.rng.randrange(maps.shape[3])
    scores: dict[str, tuple[objectives.Objective, Tensor]] = {
        "channel": (objectives.channel(layer, index), maps[0, index].mean()),
        "neuron": (objectives.neuron(layer, index, row, column), maps[0, index, row, column]),
        "layer_energy": (objectives.layer_energy(layer), maps.square().mean()),
        "logit": (objectives.logit(case.target[0]), case.score_of(wanted.output, case.target[0])),
    }
    known_model = wrap_model(
        copy.deepcopy(case.net),
        size=tuple(case.x.shape[2:]),
        mean=(MEAN,) * case.x.shape[1],
        std=(STD,) * case.x.shape[1],
    )
    for name, (objective, score) in scores.items():
        kind = f"ascent: {name}"
        with judge.trying(kind, f"{name} of {layer}"), torch.random.fork_rng():
            told: list[float] = []
            found = maximize(
                known_model,
                objective,
                steps=1,
                start=start,
                redirect=0,
                parameterization=Pixels(),
                transforms=Transforms(),
                callback=partial(_note, told),
            )
            size = float(maps.abs().amax())
            tolerance = 2e-4
            judge.close(kind, torch.tensor(told[0]), score, tolerance, size, f"{name} of {layer}")
            _compare_step(judge, kind, plain, objective, name, layer, start, found.images, (index, row, column), case)


def _note(told: list[float], progress: Progress) -> None:
    told.append(float(progress.scores[0]))


def _compare_step(
    judge: Judge,
    kind: str,
    plain: nn.Module,
    objective: objectives.Objective,
    name: str,
    layer: str,
    start: Tensor,
    images: Tensor,
    unit: tuple[int, int, int],
    case: Case,
) -> None:
    """Adam's first step is the rate times the sign of the gradient, in the logits of the pixels."""
    values = torch.logit(start.double(), 1e-6).to(case.x.dtype).requires_grad_()
    with torch.enable_grad():
        trace = Trace(plain, (values.sigmoid() - MEAN) / STD)
        if name == "logit":
            score = case.score_of(trace.output, case.target[0])
        else:
            maps = as_maps(trace.calls[layer][-1], layer, case.layouts())
            assert maps is not None
            index, row, column = unit
            score = {
                "channel": lambda: maps[0, index].mean(),
                "neuron": lambda: maps[0, index, row, column],
                "layer_energy": lambda: maps.square().mean(),
            }[name]()
        (gradient,) = trace.gradients(score, [trace.x])
    if gradient is None:
        return
    clear = (gradient.abs() > 1e-3 * gradient.abs().amax()) & (gradient.abs() > 1e-5)
    moved = torch.logit(images.double(), 1e-6) - torch.logit(start.double(), 1e-6)
    direction = torch.sign(gradient)
    agrees = (torch.sign(moved) == direction) | ~clear | (moved.abs() < 1e-4)
    judge.true(f"{kind}: step", bool(agrees.all()), f"{name} of {layer}: {int((~agrees).sum())} pixels go astray")
