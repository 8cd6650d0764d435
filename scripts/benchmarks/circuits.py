"""Measured edges and relevance through units: what they cost beside running all of the network, or all of the rest."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np
import torch

import viztool
from benchmarks.contest import Contest, Work, cpu_seconds, row
from viztool.attribution import attribute
from viztool.circuits.looking import glance, shots
from viztool.circuits.measure import Instead, Run, Unit
from viztool.hooks.evaluating import evaluating
from viztool.hooks.frozen import frozen
from viztool.inspect.survey import survey
from viztool.models.model import Model
from viztool.render.colormaps import Picture

LAYER, BEFORE, CHANNEL, PHOTOS = "blocks.4", "blocks.3", 15, 16
UNITS, EACH = 112, 8
_BATCH = 8


def photos() -> list[Picture]:
    """Coarse noise: what is shown makes no difference to the time."""
    rng = np.random.default_rng(0)
    small = (rng.integers(0, 256, (14, 14, 3), np.uint8) for _ in range(PHOTOS))
    return [np.kron(one, np.ones((16, 16, 1), np.uint8)) for one in small]


def measured(model: Model, given: list[Picture]) -> Work:
    """Each input channel of the unit, knocked out on each photo; a look at each photo and a gradient are in it, too."""
    known = survey(model.net, model.preprocess(given[0]))
    source, unit = known.site(BEFORE), Unit(known.site(LAYER), CHANNEL)

    def work() -> None:
        with torch.no_grad(), evaluating(model.net), frozen(model.net):
            seen = glance(model.net, shots(model, given, (LAYER, CHANNEL)), {LAYER: unit.site, BEFORE: source})
            means = {name: rows.mean(0) for name, rows in seen.means.items()}
            others = {name: rows.mean(0) for name, rows in seen.others.items()}
            Run(model.net, model, known, seen, Instead("mean", means, others, 0), None).inputs(source, unit)

    return work


@row(f"inputs of {LAYER}/{CHANNEL} on {PHOTOS} photos", "the whole network for each", figure="gain", mark=5, pairs=1)
def whole_runs(_: ExitStack) -> Contest:
    model, given = viztool.load_model(), photos()
    count = survey(model.net, model.preprocess(given[0])).site(BEFORE).channels
    x = torch.cat([model.preprocess(given[0])] * _BATCH)

    @torch.no_grad()
    def forwards() -> None:
        for _ in range(count * PHOTOS // _BATCH):
            model.net(x)

    return Contest(measured(model, given), forwards, cpu_seconds)


@row(f"inputs of {LAYER}/{CHANNEL} on {PHOTOS} photos", "what stands between, for each", mark=1.2, pairs=3)
def tails(_: ExitStack) -> Contest:
    model, given = viztool.load_model(), photos()
    source = survey(model.net, model.preprocess(given[0])).site(BEFORE)
    between = model.net.get_submodule(LAYER)
    maps = torch.randn(_BATCH, *source.shape).contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def forwards() -> None:
        for _ in range(source.channels * PHOTOS // _BATCH):
            between(maps)

    return Contest(measured(model, given), forwards, cpu_seconds)


@row(f"relevance through {UNITS} units of {LAYER}", f"one relevance for each {EACH} of them", mark=3, pairs=3)
def through(_: ExitStack) -> Contest:
    model: Model = viztool.load_model()
    x = model.preprocess(photos()[0])

    def singles() -> None:
        for _ in range(UNITS // EACH):
            attribute(model, x, "lrp_zplus", 281)

    return Contest(lambda: attribute(model, x, "lrp_zplus", 281, through=(LAYER, range(UNITS))), singles, cpu_seconds)
