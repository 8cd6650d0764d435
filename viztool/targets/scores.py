"""Scores of one's own, for outputs that are not one logit a class."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from viztool.errors import TargetError
from viztool.models.outputs import is_detection, output_tensor
from viztool.targets.resolve import Score


def inside(mask: Tensor, label: int) -> Score:
    """Of a segmentation network: the mean logit of class `label` inside a mask, (h, w) or (N, h, w), bool.

    The mask is in the output's own resolution, or is resized to it, nearest.
    """

    def mean_inside(output: Any) -> Tensor:
        logits = output_tensor(output)
        if logits.dim() != 4:
            raise TargetError(f"inside() needs logits (N, K, h, w); this network puts out {tuple(logits.shape)}")
        area = mask.to(logits.device, logits.dtype).reshape(-1, 1, *mask.shape[-2:])
        area = F.interpolate(area, logits.shape[-2:], mode="nearest")[:, 0].expand(len(logits), -1, -1)
        if not bool((area.sum((1, 2)) > 0).all()):
            raise TargetError("the mask of inside() is empty at the resolution of the output; mark a larger part")
        return (logits[:, label] * area).sum((1, 2)) / area.sum((1, 2))

    return mean_inside


def box(index: int = 0) -> Score:
    """Of a detection network: the score of each image's box with this index; they are sorted, best first."""

    def box_score(output: Any) -> Tensor:
        if not is_detection(output):
            raise TargetError("box() needs a detection network, which puts out labels and scores for each image")
        for boxes in output:
            if index >= len(boxes["scores"]):
                raise TargetError(f"the network found {len(boxes['scores'])} boxes; there is no box {index}")
        return torch.stack([boxes["scores"][index] for boxes in output])

    return box_score


def similarity(reference: Tensor) -> Score:
    """Of an embedding network: the cosine of each image's output, (N, D), with a reference, (D,) or (N, D)."""

    def cosine(output: Any) -> Tensor:
        embedding = output_tensor(output).flatten(1)
        return F.cosine_similarity(embedding, reference.to(embedding).reshape(-1, embedding.shape[1]), dim=1)

    return cosine
