"""What a network's output says about classes, whatever form it has."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from viztool.errors import ModelError

Prediction = tuple[str, float]


def class_scores(output: Any) -> Tensor:
    """The network's score for each class: (N, K), in the autograd graph where the output is.

    output: (N, K), taken as it is; (N,), one score an image; dense maps (N, K, H, W, ...) or tokens
    (N, L, K), of which it is the score whose probability is each class's share of the picture; the
    boxes of a detection network, of which it is the highest score of each class; or a tuple, dict or
    object that holds one of these. ModelError for anything else.
    """
    if is_detection(output):
        return _box_scores(output)
    scores = output_tensor(output)
    if scores.ndim == 0 or 0 in scores.shape:
        raise ModelError(f"the network's output has no class scores: its shape is {tuple(scores.shape)}")
    if not scores.is_floating_point():
        scores = scores.float()
    if scores.ndim == 1:
        return scores[:, None]
    return scores if scores.ndim == 2 else _dense_scores(scores.float())


def class_probabilities(output: Any) -> Tensor:
    """The probability of each class: float32 (N, K).

    Softmax of the scores; the sigmoid of a single score; the scores themselves if they already are
    probabilities (not negative, sum 1) or those of boxes.
    """
    scores = class_scores(output)
    if is_detection(output) or _are_probabilities(scores, 1):
        return scores.float()
    return scores.float().sigmoid() if scores.shape[1] == 1 else scores.float().softmax(1)


def top_classes(output: Any, classes: Sequence[str] | None = None, top: int = 5) -> list[list[Prediction]]:
    """The `top` classes of each image with their probabilities, best first.

    classes: the names; without them class 17 is called "class 17". Of a network with one output and
    two names the second is the positive class. Of a detection network: its best boxes as (class,
    score), a class as often as it has boxes. ModelError if the output is not finite, or the names are
    not as many as the outputs.
    """
    if top < 1:
        raise ModelError(f"top must be at least 1, got {top}")
    if is_detection(output):
        return [_top_boxes(boxes, classes, top) for boxes in output]
    probabilities = class_probabilities(output).detach()
    if classes is not None and len(classes) == 2 and probabilities.shape[1] == 1:
        probabilities = torch.cat([1 - probabilities, probabilities], dim=1)
    _require_finite(probabilities)
    count = probabilities.shape[1]
    if classes is not None and len(classes) != count:
        raise ModelError(f"{len(classes)} class names were given, and the network has {count} outputs")
    values, indices = probabilities.topk(min(top, count), dim=1)
    return [
        [(class_name(classes, index), value) for index, value in zip(row, line, strict=True)]
        for row, line in zip(indices.tolist(), values.tolist(), strict=True)
    ]


def class_name(classes: Sequence[str] | None, index: int) -> str:
    """The class's name, or "class 17" where there are no names."""
    return f"class {index}" if classes is None else classes[index]


def output_tensor(output: Any) -> Tensor:
    """The tensor that holds the scores: the output itself, its `.logits`, "logits" or "out", or its first tensor."""
    if isinstance(output, Tensor):
        return output
    candidates: list[Any] = [getattr(output, "logits", None)]
    if isinstance(output, Mapping):
        candidates += [output.get("logits"), output.get("out"), *output.values()]
    elif isinstance(output, (list, tuple)):
        candidates += output
    for candidate in candidates:
        if isinstance(candidate, (Tensor, Mapping, list, tuple)):
            return output_tensor(candidate)
    raise ModelError(f"the network's output ({type(output).__name__}) holds no tensor to read classes from")


def is_detection(output: Any) -> bool:
    """Whether this is what torchvision's detection networks give: one dict of labels and scores an image."""
    return (
        isinstance(output, (list, tuple))
        and len(output) > 0
        and all(isinstance(boxes, Mapping) and {"labels", "scores"} <= boxes.keys() for boxes in output)
    )


def _dense_scores(scores: Tensor) -> Tensor:
    """(N, K) of which the softmax, or the sigmoid where K is 1, is the mean probability over all positions."""
    classes = 2 if scores.ndim == 3 else 1
    spots = [dim for dim in range(1, scores.ndim) if dim != classes]
    if scores.shape[classes] == 1:
        return F.logsigmoid(scores).logsumexp(spots) - F.logsigmoid(-scores).logsumexp(spots)
    if _are_probabilities(scores, classes):
        return scores.mean(spots).clamp_min(torch.finfo(scores.dtype).tiny).log()
    positions = scores[0].numel() // scores.shape[classes]
    return scores.log_softmax(classes).logsumexp(spots) - math.log(positions)


def _are_probabilities(scores: Tensor, dim: int) -> bool:
    """Whether the network ended in a softmax: not negative, sum 1 within the rounding of its precision."""
    if scores.shape[dim] == 1:
        return False
    tolerance = max(1e-4, 4 * torch.finfo(scores.dtype).eps)
    values = scores.detach().float()
    return bool((values >= 0).all()) and bool(((values.sum(dim) - 1).abs() <= tolerance).all())


def _box_scores(output: Sequence[Mapping[str, Tensor]]) -> Tensor:
    labels = torch.cat([boxes["labels"] for boxes in output])
    if not len(labels):
        raise ModelError("the network found no object in the photo")
    count = int(labels.max()) + 1
    rows = []
    for boxes in output:
        row = boxes["scores"].new_zeros(count)
        rows.append(row.scatter_reduce(0, boxes["labels"], boxes["scores"], "amax"))
    return torch.stack(rows)


def _top_boxes(boxes: Mapping[str, Tensor], classes: Sequence[str] | None, top: int) -> list[Prediction]:
    scores = boxes["scores"].detach().float()
    _require_finite(scores)
    best = scores.argsort(descending=True)[:top]
    labels = boxes["labels"][best].tolist()
    if classes is not None and labels and max(labels) >= len(classes):
        raise ModelError(f"{len(classes)} class names were given, and the network found class {max(labels)}")
    return [(class_name(classes, label), score) for label, score in zip(labels, scores[best].tolist(), strict=True)]


def _require_finite(values: Tensor) -> None:
    if not bool(values.isfinite().all()):
        raise ModelError(
            "the network's output is not finite (NaN or infinity): look at its weights, and at mean and std"
        )
