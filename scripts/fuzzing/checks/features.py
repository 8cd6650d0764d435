"""Feature maps: the values and figures of the layers that are chosen, and whether they are one for each resolution."""

from __future__ import annotations

import itertools
from math import log, prod

import torch
from torch import Tensor

import viztool
from fuzzing.checks.captured import as_maps
from fuzzing.checks.registry import check
from fuzzing.judge import Judge
from fuzzing.networks import Case
from fuzzing.twin import Trace, twin

NEAR = 2.0
"""Maps whose areas differ by less are of one resolution."""


@check("feature maps")
def feature_maps(case: Case, judge: Judge) -> None:
    """By default, and of layers by name."""
    wanted = Trace(twin(case.net).eval(), case.x)
    layouts = case.layouts()
    known = {
        name: maps
        for name, calls in wanted.calls.items()
        if name and (maps := as_maps(calls[-1], name, layouts)) is not None
    }
    named = case.rng.sample(list(known), min(3, len(known)))
    for layers, kind in ((None, "feature maps: default"), (named, "feature maps: named")):
        # Of maps of more than one place there always is something to draw.
        drawable = any(prod(maps.shape[2:]) > 1 for maps in known.values())
        with judge.trying(kind, str(layers), refusable=not drawable), torch.random.fork_rng():
            found = viztool.feature_maps(case.net, case.x, layers, top=None)
            results = found if isinstance(found, list) else [found]
            judge.true(kind, len(results) == len(case.x), f"{len(results)} results")
            for index, result in enumerate(results):
                for layer in result.layers:
                    if layer.name not in known:
                        continue
                    own = known[layer.name][index]
                    what = f"{layer.name}, image {index}"
                    judge.close(kind, torch.from_numpy(layer.maps), own.float(), 0.0, what=what)
                    sd = torch.from_numpy(layer.statistics.sd)
                    judge.close(
                        "feature maps: sd", sd, own.std((1, 2), correction=0), 1e-4, float(own.abs().max()), what
                    )
                    order = [float(sd[channel]) for channel in layer.channels]
                    judge.true("feature maps: order", all(a >= b - 1e-6 for a, b in itertools.pairwise(order)), what)
            if layers is None:
                _one_a_resolution(case, judge, [layer.name for layer in results[0].layers], known, wanted)


def _one_a_resolution(case: Case, judge: Judge, chosen: list[str], known: dict[str, Tensor], wanted: Trace) -> None:
    """The trunk's resolutions, in order, are those of the chosen layers, but for what its head adds."""
    last: dict[tuple[int, ...], None] = {}  # the sizes in the order in which each is left for good
    for index in range(len(case.net.blocks)):
        name = f"blocks.{index}"
        sides = tuple(known[name].shape[2:]) if name in known else (0, 0)
        if prod(sides) <= 1 or not in_proportion(sides, tuple(case.x.shape[2:])):
            continue
        last.pop(sides, None)
        last[sides] = None
    areas: list[int] = []
    for sides in last:
        if areas and 1 / NEAR < prod(sides) / areas[-1] < NEAR:
            areas.pop()
        areas.append(prod(sides))
    got = [prod(known[name].shape[2:]) for name in chosen if name in known]
    if len(areas) > 1 and "adaptive" not in case.traits:  # which hands on the maps before it
        judge.true("feature maps: stages", set(got) >= set(areas), f"{chosen} have {got}, the trunk {areas}")


def in_proportion(sides: tuple[int, ...], picture: tuple[int, ...]) -> bool:
    """Whether the picture's proportions are kept, within a factor of two."""
    return abs(log(sides[0] / sides[1] * picture[1] / picture[0])) < log(2)
