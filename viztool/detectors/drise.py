"""D-RISE: which pixels a detector's box rests on, from random masks alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from viztool.attribution.baseline import Baseline, baseline_of
from viztool.attribution.random_masks import RandomMasks
from viztool.attribution.registry import at_least
from viztool.detectors.box_map import BoxMap
from viztool.detectors.boxes import Boxes, Corners, box_like, boxes_of, overlap
from viztool.errors import ModelError, TargetError, ViztoolError, check_seed
from viztool.faithfulness.boxes import in_view
from viztool.heatmaps.heatmap import require_finite
from viztool.hooks.evaluating import evaluating
from viztool.hooks.frozen import frozen
from viztool.hooks.naming import unwrap
from viztool.hooks.watch import watch
from viztool.models.model import Model
from viztool.models.outputs import class_name, is_detection
from viztool.models.subject import Subject, one_batch
from viztool.render.colormaps import Picture
from viztool.render.predictions import Predictions
from viztool.targets.question import Question
from viztool.targets.resolve import class_indices

_PAPER = "Petsiuk et al. 2021, arXiv:2006.03204"


def drise(
    model: Model | nn.Module,
    photo: Picture | Tensor,
    box: Corners | None = None,
    target: int | str | None = None,
    *,
    read: Boxes | None = None,
    masks: int = 1000,
    grid: int = 16,
    probability: float = 0.5,
    baseline: Baseline = "mean",
    seed: int = 0,
    source: str = "photo",
) -> BoxMap:
    """Which pixels speak for a box: Σ s(m·x + (1 − m)·b) m / Σ m − mean s, over random masks m.

    s is how like the box the most similar one is that the detector finds in the masked photo (`box_like`). The mean
    over all masks is taken off the paper's map, as in RISE, so that 0 says that it does not matter whether a pixel is
    seen.

    photo: uint8 RGB (H, W, 3); or a tensor (1, C, H, W), normalised already, which a bare network needs.
    box: (left, top, right, bottom) in pixels of the photo; found or not. By default the detector's best.
    target: the class of the box, by index or name; by default that of the box found that overlaps most with it.
    read: from the network's output to its boxes, for one that puts them out in another form than torchvision's.
    masks: how many. grid, probability: of their cells. baseline: what is seen where a mask hides, as in `attribute`.
    seed: of the masks. source: what the photo is called on the sheet.

    `.error` has the standard error of each pixel. The network runs in evaluation mode and is left as it was. Raises
    TargetError if there is no such box, ModelError and ViztoolError for an input or option that does not fit.

    Petsiuk et al. 2021, arXiv:2006.03204; as there 16 × 16 cells, half of them visible, of 5,000 masks.
    """
    check_seed(seed)
    at_least(2, masks=masks)
    at_least(1, grid=grid)
    if not 0 < probability < 1:
        raise ViztoolError(f"probability is {probability}; give one between 0 and 1")
    x, subjects = one_batch(model, photo, source)
    if len(x) != 1 or x.dim() != 4:
        raise ModelError(f"a box is of one photo; the input is {tuple(x.shape)}")
    net, subject, known = unwrap(model), subjects[0], read or boxes_of
    with torch.inference_mode(False), torch.no_grad(), evaluating(net), frozen(net), watch({}):
        plain = Question(model, x, None)
        found = known(plain.output)[0]
        names = model.classes if isinstance(model, Model) else None
        asked = None if box is None else _in_input(box, subject, plain.size)
        corners, label = _asked(found, asked, target, names)
        question = Question(model, x, box_like(corners, label, known, _probabilities(found, corners, label)), seed=seed)
        question.saw(plain.output)
        require_finite("the score", question.score)
        drawn = RandomMasks.draw(masks, grid, probability, question.generator())
        mean = _weighted(question, drawn, baseline_of(model, x, baseline).float())
        boxed = _in_photo(corners, subject, question.size)
        predictions = plain.reader.says(plain.output, 1) if is_detection(plain.output) else (Predictions(),)
        return BoxMap(
            method="drise",
            raw=mean.map[None].cpu(),
            target=(class_name(names, label),),
            classes=(label,),
            score=question.score.cpu(),
            layer=(),
            signed=True,
            subjects=subjects,
            predictions=tuple(predictions),
            unit="similarity",
            seed=seed,
            details={
                "title": "D-RISE",
                "paper": _PAPER,
                "masks": masks,
                "grid": grid,
                "probability": probability,
                "baseline": baseline if isinstance(baseline, str) else "a tensor",
                "mean": [mean.middle],
                "standard_error": [float(mean.error.mean())],
            },
            box=in_view(boxed, subject),
            error=mean.error[None].cpu(),
            corners=boxed,
        )


@dataclass(frozen=True, eq=False)
class _Weighted:
    """map, error: (H, W). middle: the mean over all masks."""

    map: Tensor
    error: Tensor
    middle: float


def _weighted(question: Question, drawn: RandomMasks, baseline: Tensor) -> _Weighted:
    """R = Σ s m / Σ m less the mean of s, and its standard error.

    To first order each mask moves the map by m (s − R) / Σ m − (s − mean) / n: the error is the root of the sum of the
    squares of these, of which the sums below are all that is needed.
    """
    x, size, count = question.x.float(), question.size, len(drawn)
    sums = torch.zeros(6, size[0] * size[1], dtype=torch.float64)  # Σ m, m², s m, s m², s² m, s² m²
    every: list[Tensor] = []
    for part in question.chunks(count):
        made = drawn.made(part, size)
        shown = question.masks(made)
        s = question.confidences(shown * x + (1 - shown) * baseline)[:, 0].cpu()
        m = made.flatten(1)
        squared = m * m
        powers = torch.stack([torch.ones_like(s), s, s * s])
        sums += torch.stack([powers @ m, powers @ squared], 1).flatten(0, 1).double()
        every.append(s.double())
    likeness = torch.cat(every)
    visible, visible2, seen, seen2, twice, twice2 = sums
    visible = visible.clamp_min(torch.finfo(torch.float32).tiny)
    ratio, middle = seen / visible, likeness.mean()
    own = (twice2 - 2 * ratio * seen2 + ratio**2 * visible2) / visible**2
    both = (twice - ratio * seen) / (visible * count)
    common = (likeness - middle).square().sum() / count**2
    error = (own - 2 * both + common).clamp_min(0).sqrt()
    return _Weighted((ratio - middle).view(size).float(), error.view(size).float(), float(middle))


def _asked(
    found: Mapping[str, Tensor], box: Corners | None, target: int | str | None, names: tuple[str, ...] | None
) -> tuple[Corners, int]:
    """The box in pixels of the input, and its class."""
    labels, scores = found["labels"], found["scores"]
    label = None
    if target is not None:
        label = class_indices([target], names, None if names is None else len(names))[0]
    if box is not None:
        if label is None:
            covers = overlap(found["boxes"].float(), box)
            if not len(covers) or not float(covers.max()) > 0:
                raise TargetError("no box that the network found overlaps with this one; say which class it is of")
            label = int(labels[covers.argmax()])
        return box, label
    own = torch.arange(len(labels)) if label is None else (labels == label).nonzero()[:, 0].cpu()
    if not len(own):
        what = "no box" if label is None else f"no box of {class_name(names, label)}"
        raise TargetError(f"the network found {what} in the photo; give a box and its class")
    best = int(own[scores[own.to(scores.device)].argmax()])
    return tuple(found["boxes"][best].float().tolist()), int(labels[best])


def _probabilities(found: Mapping[str, Tensor], box: Corners, label: int) -> Tensor | None:
    """Those of the box that is asked about, where it was found: the one of its class that overlaps most."""
    if "probabilities" not in found or not len(found["labels"]):
        return None
    covers = overlap(found["boxes"].float(), box) * (found["labels"] == label)
    return found["probabilities"][int(covers.argmax())].float() if float(covers.max()) > 0 else None


def _in_input(box: Corners, subject: Subject, size: tuple[int, int]) -> Corners:
    if len(box) != 4 or not (box[0] < box[2] and box[1] < box[3]):
        raise TargetError(f"{tuple(box)} is no box: it is left < right and top < bottom")
    left, top, right, bottom = in_view(box, subject)
    if not (left < right and top < bottom):
        raise TargetError(f"the box {tuple(box)} lies outside what the network was given of {subject.source}")
    return left * size[1], top * size[0], right * size[1], bottom * size[0]


def _in_photo(box: Corners, subject: Subject, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """The inverse of `_in_input`."""
    height, width = subject.view.shape[:2]
    top, left, bottom, right = subject.seen or (0.0, 0.0, float(height), float(width))
    across, down = (right - left) / size[1], (bottom - top) / size[0]
    return left + box[0] * across, top + box[1] * down, left + box[2] * across, top + box[3] * down
