"""The boxes that a detector puts out, and how like one of them a box is that one asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from viztool.errors import TargetError
from viztool.hooks.evaluating import evaluating
from viztool.hooks.naming import unwrap
from viztool.models.model import Model
from viztool.models.outputs import is_detection
from viztool.render.colormaps import Picture
from viztool.targets.resolve import Score

Corners: TypeAlias = Sequence[float]
"""left, top, right, bottom."""

Boxes: TypeAlias = Callable[[Any], Sequence[Mapping[str, Tensor]]]
"""From a network's output to the boxes of each image: "boxes" (n, 4), as corners in pixels of the input, "labels" (n,)
and "scores" (n,); "probabilities" (n, K) of the classes and "objectness" (n,), where the network has them."""


def boxes_of(output: Any) -> Sequence[Mapping[str, Tensor]]:
    """The boxes of a network that puts them out as torchvision's do. Raises TargetError for anything else."""
    if not is_detection(output) or not all("boxes" in each for each in output):
        raise TargetError(
            "D-RISE is of a detector, which puts out boxes, labels and scores for each image; for another form of "
            "output give read, a callable that makes these of it"
        )
    known: Sequence[Mapping[str, Tensor]] = output
    return known


def detects(model: Model, photo: Picture) -> bool:
    """Whether the network puts out boxes for a photo."""
    net = unwrap(model)
    with torch.no_grad(), evaluating(net):
        return is_detection(net(model.preprocess(photo).to(model.dtype)))


def check_detects(model: Model) -> None:
    """Raise TargetError for a network that puts out no boxes, before there is a photo: it is shown a black one."""
    with torch.no_grad(), evaluating(unwrap(model)):
        try:
            output = unwrap(model)(model.preprocess(np.zeros((*model.size, 3), np.uint8)).to(model.dtype))
        except Exception:  # a network that fails on black need not on photos; if it does, they say so
            return
    boxes_of(output)


def overlap(boxes: Tensor, box: Corners) -> Tensor:
    """Intersection over union of boxes (n, 4) with one: (n,)."""
    one = torch.as_tensor(box, dtype=boxes.dtype, device=boxes.device)
    sides = (torch.minimum(boxes[:, 2:], one[2:]) - torch.maximum(boxes[:, :2], one[:2])).clamp_min(0)
    inside = sides.prod(1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1) + (one[2:] - one[:2]).prod()
    return inside / (areas - inside).clamp_min(torch.finfo(boxes.dtype).tiny)


def box_like(box: Corners, label: int, read: Boxes = boxes_of, probabilities: Tensor | None = None) -> Score:
    """Of a detector: how like a box of a class the most similar box of each image is, 0 to 1.

    Overlap × the class's agreement × objectness (Petsiuk et al. 2021, eq. 3 to 6). Overlap is intersection over union.
    Networks that give a box one label and its score agree by that score, if the label is the same, and have no
    objectness beside it. Where the boxes have probabilities, agreement is their cosine with `probabilities`, (K,); of
    the class alone, if that is left out. box: (left, top, right, bottom) in pixels of the input.
    """

    def likeness(output: Any) -> Tensor:
        return torch.stack([_best(found, box, label, probabilities) for found in read(output)])

    return likeness


def _best(found: Mapping[str, Tensor], box: Corners, label: int, probabilities: Tensor | None) -> Tensor:
    scores = found["scores"].float()
    if not len(scores):
        return scores.new_zeros(())
    if "probabilities" in found:
        has = found["probabilities"].float()
        one = F.one_hot(torch.tensor(label, device=has.device), has.shape[1]).float()
        agreement = F.cosine_similarity(has, (one if probabilities is None else probabilities.to(has))[None], dim=1)
    else:
        agreement = scores * (found["labels"] == label)
    like = overlap(found["boxes"].float(), box) * agreement
    return (like * found["objectness"].float() if "objectness" in found else like).amax()
