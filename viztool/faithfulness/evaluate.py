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
from viztool.faithfulness.orders import coarseness, random_maps, ranks
from viztool.faithfulness.removal import blank, blurred
from viztool.faithfulness.result import Evaluation
from viztool.faithfulness.score import Score
from viztool.faithfulness.sensitivity import losses, sensitivity_n
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

    model, photo: those that the heatmap was made of. heatmap: or several of the same photos, for one evaluation each,
    with the same figures of their own; what does not depend on the map is then done once. steps: of the insertion and
    deletion curves. draws: random maps for each image. target: the score that the heatmap is of, where that is not a
    class.

    Pixels go in the order of the signed map, what speaks most for the target first; equal ones in a seeded random
    order. Random maps are drawn from the seed once for each image and `orders.coarseness`: heatmaps that are as coarse
    share them, so that what chance does on an image is the same for all of them; but for average drop, increase and
    sensitivity-n, which are of values and not of an order alone, each heatmap's own values lie there.
    The network and its mode are left as they were. Raises HeatmapError if the heatmap is of other photos.
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
            labels = [None if each.classes is None else each.classes[index] for each in heatmaps]
            for label in dict.fromkeys(labels):
                places = [at for at, own in enumerate(labels) if own == label]
                first = heatmaps[places[0]]
                question = Question(model, x, _target(first, index, target, asked), seed=seed)
                units.add(question.target.unit)
                raws = [heatmaps[at].raw[index] for at in places]
                like = replace(first, raw=raws[0][None], subjects=(first.subjects[index],))
                for at, found in zip(places, _judge(question, like, raws, steps, draws), strict=True):
                    judged[at].append(found)
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


class _Judged(dict[str, Tensor]):
    """What was found for one image: curves (1 + D, S) and scores (1 + D,), the heatmap's own first, by their names."""


def _judge(question: Question, like: Heatmap, raws: Sequence[Tensor], steps: int, draws: int) -> list[_Judged]:
    """Several maps of one image and target, each beside random ones. like: one heatmap of that. raws: (h, w) each."""
    x, (h, w) = question.x, question.size
    pixels, counts = h * w, step_counts(h * w, steps)
    groups: dict[tuple[int, ...], list[int]] = {}
    for at, raw in enumerate(raws):
        groups.setdefault(coarseness(raw), []).append(at)

    orders = [ranks(_of(like, raw[None]).signed_map, question.generator()) for raw in raws]
    beside, rows = list(raws), [torch.zeros(0)] * len(raws)
    for group in groups.values():
        random = random_maps(torch.stack([raws[at] for at in group]), draws, question.generator())
        generator = question.generator()
        torch.randperm(pixels, generator=generator)  # has gone to the order of the map itself
        common = random[0] if len(group) == 1 else _unit(random).mean(0)
        first = len(raws) + draws * (len(orders) - len(raws))
        orders.append(ranks(_of(like, common).signed_map, generator))
        for at, own in zip(group, random, strict=True):
            beside[at] = torch.cat([raws[at][None], own])
            rows[at] = torch.tensor([at, *range(first, first + draws)])
    noise = torch.randn(x[0].numel() // pixels, h, w, generator=generator)

    places, maps = torch.cat(orders), [_of(like, each) for each in beside]
    most, least = road(question, places, noise)
    deletion, insertion = walk(question, places, x, blank(x), counts), walk(question, places, blurred(x), x, counts)
    faded = confidence(question, torch.cat([each.map for each in maps])).split(1 + draws)
    found = losses(question, question.generator())
    return [
        _Judged(
            shares=counts / pixels,
            deletion=deletion[own],
            insertion=insertion[own],
            road_most=most[own],
            road_least=least[own],
            average_drop=average_drop(deletion[own, 0], after),
            increase=increase(deletion[own, 0], after),
            sensitivity_n=sensitivity_n(each.signed_map, found),
        )
        for own, after, each in zip(rows, faded, maps, strict=True)
    ]


def _of(like: Heatmap, raws: Tensor) -> Heatmap:
    """These maps (M, h, w) in place of the heatmap's own."""
    return replace(like, raw=raws, subjects=like.subjects * len(raws))


def _unit(maps: Tensor) -> Tensor:
    """Each map over its largest absolute value, so that all of them count as much."""
    return maps / maps.abs().amax((-2, -1), keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)


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
