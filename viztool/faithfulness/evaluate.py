"""From a network, photos and a heatmap to the numbers that say whether the heatmap is true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, overload

import numpy as np
import torch
from torch import Tensor, nn

from viztool.errors import TargetError, ViztoolError
from viztool.faithfulness.curves import ROAD_SHARES, Curve, road, step_counts, walk
from viztool.faithfulness.drop import average_drop, confidence, increase
from viztool.faithfulness.errors import HeatmapError
from viztool.faithfulness.orders import random_maps, ranks
from viztool.faithfulness.removal import blank, blurred
from viztool.faithfulness.result import Evaluation
from viztool.faithfulness.score import Score
from viztool.faithfulness.sensitivity import Losses, losses, sensitivity_n
from viztool.heatmaps.heatmap import Heatmap
from viztool.hooks.evaluating import evaluating
from viztool.hooks.naming import unwrap
from viztool.models.model import Model
from viztool.models.subject import Subject, looks_at
from viztool.render.colormaps import Picture
from viztool.results import Results
from viztool.targets.question import Question
from viztool.targets.resolve import Resolved, Target, settled
from viztool.targets.resolve import Score as TargetScore


@overload
def evaluate_heatmap(
    model: Model | nn.Module,
    photo: Picture | Sequence[Picture] | Tensor,
    heatmap: Heatmap,
    *,
    steps: int = 32,
    draws: int = 8,
    seed: int = 0,
    target: TargetScore | None = None,
) -> Evaluation: ...
@overload
def evaluate_heatmap(
    model: Model | nn.Module,
    photo: Picture | Sequence[Picture] | Tensor,
    heatmap: Sequence[Heatmap],
    *,
    steps: int = 32,
    draws: int = 8,
    seed: int = 0,
    target: TargetScore | None = None,
) -> Results[Evaluation]: ...
def evaluate_heatmap(
    model: Model | nn.Module,
    photo: Picture | Sequence[Picture] | Tensor,
    heatmap: Heatmap | Sequence[Heatmap],
    *,
    steps: int = 32,
    draws: int = 8,
    seed: int = 0,
    target: TargetScore | None = None,
) -> Evaluation | Results[Evaluation]:
    """Measure how far a heatmap says what the network does, beside random maps that are as coarse.

    model, photo: those that the heatmap was made of. heatmap: or several of the same photos, for one evaluation each;
    what does not depend on the map is then done once. steps: of the insertion and deletion curves. draws: random maps
    for each image. target: the score that the heatmap is of, where that is not a class.

    Pixels go in the order of the signed map, what speaks most for the target first; equal ones in a seeded random
    order. The network and its mode are left as they were. Raises HeatmapError if the heatmap is of other photos.
    """
    several = not isinstance(heatmap, Heatmap)
    heatmaps = list(heatmap) if not isinstance(heatmap, Heatmap) else [heatmap]
    if steps < 2 or draws < 2:
        raise ViztoolError(f"steps and draws must be at least 2, got {steps} and {draws}")
    looks, _ = looks_at(model, photo, "photo")
    images = [(x[index : index + 1], subject) for x, subjects in looks for index, subject in enumerate(subjects)]
    for each in heatmaps:
        _require_same(each, [subject for _, subject in images])

    net = unwrap(model)
    judged: list[list[_Judged]] = [[] for _ in heatmaps]
    units: set[Literal["probability", "score"]] = set()
    with evaluating(net):
        for index, (x, _) in enumerate(images):
            asked = Question(model, x, None, seed=seed)
            known: dict[int | None, tuple[Question, Losses]] = {}
            for at, each in enumerate(heatmaps):
                label = None if each.classes is None else each.classes[index]
                if label not in known:
                    question = Question(model, x, _target(each, index, target, asked), seed=seed)
                    units.add(question.target.unit)
                    known[label] = question, losses(question, question.generator())
                judged[at].append(_judge(*known[label], _beside_random(each, index, draws, seed), steps))
    unit: Literal["probability", "score"] = "probability" if units == {"probability"} else "score"
    evaluations = Results(_evaluation(each, found, seed, unit) for each, found in zip(heatmaps, judged, strict=True))
    return evaluations if several else evaluations[0]


def _require_same(heatmap: Heatmap, subjects: Sequence[Subject]) -> None:
    """Raise HeatmapError unless the heatmap is of these images."""
    if len(heatmap) != len(subjects):
        raise HeatmapError(
            f"the heatmap is of {len(heatmap)} images, and {len(subjects)} were given; give the same ones"
        )
    for index, (mapped, subject) in enumerate(zip(heatmap.subjects, subjects, strict=True)):
        if mapped.view.shape != subject.view.shape:
            theirs, ours = (" × ".join(map(str, view.shape[:2])) for view in (mapped.view, subject.view))
            raise HeatmapError(f"the heatmap is of an input of {theirs}, and the network gets {ours}; make it anew")
        # A photo and the tensor made of it do not look alike: then only the size can be compared.
        if (mapped.photo is None) == (subject.photo is None) and not np.array_equal(mapped.view, subject.view):
            raise HeatmapError(f"the heatmap is of another photo than number {index}; give the one that it was made of")


def _target(heatmap: Heatmap, index: int, target: TargetScore | None, asked: Question) -> Target | Resolved:
    if heatmap.classes is not None:
        return settled([heatmap.classes[index]], [heatmap.target[index]], asked.reader.settle(asked.output))
    if target is None:
        raise TargetError(f"the heatmap is of {heatmap.target[0]}, which is no class; pass that score as target=")
    return target


def _beside_random(heatmap: Heatmap, index: int, draws: int, seed: int) -> Heatmap:
    """One image's map, and random ones after it."""
    raw = heatmap.raw[index]
    random = random_maps(raw, draws, torch.Generator().manual_seed(seed))
    subjects = (heatmap.subjects[index],) * (1 + draws)
    return replace(heatmap, raw=torch.cat([raw[None], random]), subjects=subjects)


class _Judged(dict[str, Tensor]):
    """What was found for one image: curves (1 + D, S) and scores (1 + D,), the heatmap's own first, by their names."""


def _judge(question: Question, found: Losses, heatmap: Heatmap, steps: int) -> _Judged:
    x, (h, w), maps = question.x, question.size, heatmap.signed_map
    generator = question.generator()
    places = ranks(maps, generator)
    noise = torch.randn(x[0].numel() // (h * w), h, w, generator=generator)
    counts = step_counts(h * w, steps)
    most, least = road(question, places, noise)
    deletion = walk(question, places, x, blank(x), counts)
    before, after = deletion[:, 0], confidence(question, heatmap.map)
    return _Judged(
        shares=counts / (h * w),
        deletion=deletion,
        insertion=walk(question, places, blurred(x), x, counts),
        road_most=most,
        road_least=least,
        average_drop=average_drop(before, after),
        increase=increase(before, after),
        sensitivity_n=sensitivity_n(maps, found),
    )


def _evaluation(
    heatmap: Heatmap, judged: Sequence[_Judged], seed: int, unit: Literal["probability", "score"]
) -> Evaluation:
    def stacked(name: str) -> tuple[Tensor, Tensor]:
        values = torch.stack([each[name] for each in judged])
        return values[:, 0], values[:, 1:]

    shares = judged[0]["shares"]
    road_shares = torch.tensor(ROAD_SHARES)
    curves = {name: Curve(shares, *stacked(name)) for name in ("deletion", "insertion")}
    curves |= {name: Curve(road_shares, *stacked(name)) for name in ("road_most", "road_least")}
    most, least = curves["road_most"], curves["road_least"]
    scores = {
        "deletion": Score(curves["deletion"].auc, curves["deletion"].random_auc, higher_is_better=False),
        "insertion": Score(curves["insertion"].auc, curves["insertion"].random_auc, higher_is_better=True),
        "average_drop": Score(*stacked("average_drop"), higher_is_better=False),
        "increase": Score(*stacked("increase"), higher_is_better=True),
        "road": Score(
            (least.values - most.values).mean(1), (least.random - most.random).mean(2), higher_is_better=True
        ),
        "sensitivity_n": Score(*stacked("sensitivity_n"), higher_is_better=True),
    }
    return Evaluation(heatmap, curves["deletion"].values[:, 0], curves, scores, seed, unit)
