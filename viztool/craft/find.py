"""From photos of a class to the concepts that it is made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from viztool.atlas.made_with import weights_digest
from viztool.atlas.sources import Photos
from viztool.cam.layer_choice import choose_layer
from viztool.craft.behind import Behind
from viztool.craft.factors import Parts, factorize
from viztool.craft.looking import Box, Given, Seen, given_photos, look
from viztool.craft.orders import Curves, Orders
from viztool.craft.result import Concept, Concepts, amounts
from viztool.craft.sobol import design, standard_error, total_order
from viztool.errors import LayerError, TargetError, ViztoolError, check_seed
from viztool.hooks.evaluating import evaluating
from viztool.hooks.frozen import frozen
from viztool.hooks.naming import named_layers, unwrap
from viztool.hooks.select import Pattern, select
from viztool.hooks.watch import watch
from viztool.models.model import Model
from viztool.targets.question import Question
from viztool.targets.resolve import Resolved, Target

ASKED = 32
"""Photos whose score is asked while concepts come and go."""
_POINTS = 8
"""Settings of the concepts for each of them, and as many again for each concept."""
_SEEDS = 3
_TOP = 6


def concepts(
    model: Model | nn.Module,
    photos: Photos | Tensor,
    target: Target = None,
    layer: Pattern | None = None,
    count: int = 10,
    *,
    crop: float = 0.4,
    label: str | None = None,
    seed: int = 0,
    progress: Callable[[int], object] | None = None,
) -> Concepts:
    """The parts that a class is made of at a layer: non-negative factors of what that puts out for crops of photos.

    photos: of the class: a folder, a glob, an archive, a table or a list, as `build_atlas` takes them; arrays, uint8
        RGB (H, W, 3); or a tensor (N, C, H, W), normalised already, which a bare network needs. A few dozen at least:
        500 are wanted.
    target: the class, by index or name, or a callable from the network's output to one score an image. By default the
        class that most of the photos are predicted as.
    layer: a pattern for one layer, or a module; by default the last stage that the output depends on. Where its
        activations have both signs, a concept has a positive and a negative part.
    count: of concepts. crop: the side of a crop as a share of the input's.
    label: of photos with labels (folders, or .cls files in an archive) only those with this one.
    seed: of all that is random; `stability` is over this seed and the next two. progress: called with how many photos
        were seen.

    The network runs in evaluation mode and is left as it was. Raises ViztoolError without scikit-learn (the extra
    `viztool[concepts]`), for photos that are not there, a count that cannot be, or a layer, target or input that does
    not fit.

    Fel et al. 2023, CRAFT: Concept Recursive Activation FacTorization, arXiv:2211.10154.
    """
    failed: list[tuple[str, str]] = []
    return found_in(
        model, given_photos(model, photos, label, failed), failed, target, layer, count, crop, seed, progress=progress
    )


@dataclass(eq=False)
class _Asked:
    """What was found of the photos whose score was asked: (N, ...) each."""

    index: Tensor
    error: Tensor
    effects: Tensor
    score: float
    without: float
    curves: Curves
    target: Resolved


def found_in(
    model: Model | nn.Module,
    given: Iterable[Given],
    failed: Sequence[tuple[str, str]],
    target: Target,
    layer: Pattern | None,
    count: int,
    crop: float,
    seed: int,
    *,
    of: str = "",
    progress: Callable[[int], object] | None = None,
) -> Concepts:
    """As `concepts`, in photos that are given one by one. of: what is taken apart, if not the class."""
    check_seed(seed)
    if isinstance(target, (list, tuple)) or (isinstance(target, Tensor) and target.dim()):
        raise TargetError("concepts are of one class; give one target for all photos")
    net = unwrap(model)
    with torch.inference_mode(False), torch.no_grad(), evaluating(net), frozen(net), watch({}):
        seen, name, target = _look(model, given, target, layer, crop, progress)
        if not seen:
            reason = f": {failed[0][1]}" if failed else ""
            raise ViztoolError(f"no photo could be read{reason}")
        crops = torch.cat([one.crops for one in seen])
        parts, stable = factorize(crops, count, range(seed, seed + _SEEDS))
        there = [amounts(parts, one.maps) for one in seen]
        some = [seen[at].given.x for at in _evenly(len(seen))]
        behind = [
            partial(Behind, model, x, target, name, parts.directions, there[at])
            for at, x in zip(_evenly(len(seen)), some, strict=True)
        ]
        asked = _ask(behind, count, seed)
    sums = torch.stack([one.sum((1, 2)) for one in there]).sum(0)
    order = torch.argsort(asked.index, descending=True, stable=True).tolist()
    values = parts.coefficients(crops)
    told = [
        _concept(
            number, factor, parts, asked, float(sums[factor] / sums.sum().clamp_min(1e-30)), stable, values, seen, there
        )
        for number, factor in enumerate(order, 1)
    ]
    first = seen[0].given
    return Concepts(
        concepts=told,
        parts=Parts(parts.rows[order], parts.signed),
        layer=name,
        target=asked.target.names[0],
        index=None if asked.target.classes is None else asked.target.classes[0],
        network=first.subject.network,
        weights=first.subject.weights,
        photos=len(seen),
        crops=len(crops),
        asked=len(some),
        failed=tuple(failed),
        explained=_explained(parts, seen, there),
        score=asked.score,
        without=asked.without,
        confidence=asked.target.unit,
        curves=asked.curves,
        seed=seed,
        digest=weights_digest(net),
        preprocessing=None if first.size is None else first.subject.preprocessing,
        of=of,
    )


def _look(
    model: Model | nn.Module,
    given: Iterable[Given],
    target: Target,
    layer: Pattern | None,
    crop: float,
    progress: Callable[[int], object] | None,
) -> tuple[list[Seen], str, Target]:
    """All photos as the layer sees them, the layer's name, and the target, which is known by then."""
    seen: list[Seen] = []
    name, says = "", Counter[int]()
    for one in given:
        name = name or _one_layer(unwrap(model), one.x, layer)
        if target is None:
            says.update(Question(model, one.x, None).target.classes or ())
        seen.append(look(model, one, name, crop))
        if progress is not None:
            progress(len(seen))
    return seen, name, says.most_common(1)[0][0] if target is None and says else target


def _one_layer(net: nn.Module, x: Tensor, layer: Pattern | None) -> str:
    if layer is None:
        return choose_layer(net, x)
    picked = select(named_layers(net), layer)
    if len(picked) > 1:
        raise LayerError(f"{layer!r} picks {len(picked)} layers, {picked[0]!r} and others; concepts are of one")
    return picked[0]


def _evenly(photos: int) -> list[int]:
    """The photos that are asked about."""
    return [int(at) for at in np.linspace(0, photos - 1, min(photos, ASKED)).round()]


def _ask(behind: Sequence[Callable[[], Behind]], count: int, seed: int) -> _Asked:
    """What the score is made of, over photos; each is looked at twice, as its recorded layers fill memory."""
    whole, alone = torch.ones(1, count), 1 - torch.eye(count)
    designs, effects, scores = [], [], []
    for at, begin in enumerate(behind):
        one = begin()
        found, _ = one(torch.cat([whole, 1 - whole, alone, design(_POINTS, count, seed + at)]))
        scores.append(found[:2])
        effects.append(found[0] - found[2 : 2 + count])
        designs.append(found[2 + count :])
    index, error = total_order(torch.stack(designs), count)
    orders = Orders(torch.argsort(index, descending=True, stable=True).tolist(), seed)
    for begin in behind:
        orders.add(begin())
    mean = torch.stack(scores).mean(0)
    return _Asked(index, error, torch.stack(effects), float(mean[0]), float(mean[1]), orders.curves(), one.target)


def _concept(
    number: int,
    factor: int,
    parts: Parts,
    asked: _Asked,
    share: float,
    stable: Tensor,
    values: Tensor,
    seen: Sequence[Seen],
    there: Sequence[Tensor],
) -> Concept:
    best = _best_crops(values[:, factor], seen)
    example = max(range(len(there)), key=lambda at: float(there[at][factor].sum()))
    effects = asked.effects[:, factor]
    return Concept(
        number=number,
        direction=parts.directions[factor],
        importance=float(asked.index[factor]),
        importance_error=float(asked.error[factor]),
        effect=float(effects.mean()),
        effect_error=float(standard_error(effects)),
        share=share,
        stability=float(stable[factor]),
        crops=[(seen[at].given.id, value, seen[at].given.in_photo(box)) for at, value, box in best],
        pictures=[seen[at].given.cut(box) for at, _, box in best],
        view=seen[example].given.subject.view,
        map=there[example][factor].numpy(),
        maximum=max(float(amount[factor].max()) for amount in there),
    )


def _best_crops(values: Tensor, seen: Sequence[Seen]) -> list[tuple[int, float, Box]]:
    """(photo, value, box) of the crops with most of a concept, one a photo; of equal ones the first."""
    found = []
    start = 0
    for photo, one in enumerate(seen):
        own = values[start : start + len(one.boxes)]
        at = int(own.argmax())
        found.append((photo, float(own[at]), one.boxes[at]))
        start += len(one.boxes)
    return sorted(found, key=lambda best: -best[1])[:_TOP]


def _explained(parts: Parts, seen: Sequence[Seen], there: Sequence[Tensor]) -> float:
    """1 − |A − U · directions|² / |A|² over all photos."""
    left = whole = 0.0
    for one, amount in zip(seen, there, strict=True):
        made = torch.einsum("kc,khw->chw", parts.directions, amount)
        left += float((one.maps - made).square().sum())
        whole += float(one.maps.square().sum())
    return 1 - left / whole if whole else 0.0
