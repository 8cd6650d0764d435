"""The forms that a network's output has: tensors in tuples and dicts, maps, tokens, boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from viztool.errors import ModelError
from viztool.render.predictions import Prediction


def class_name(classes: Sequence[str] | None, index: int) -> str:
    """The class's name, or "class 17" where there are no names."""
    return f"class {index}" if classes is None else classes[index]


def output_tensor(output: Any) -> Tensor:
    """The tensor that holds the scores: the output itself, its `.logits`, "logits" or "out", or its first tensor."""
    return output_part(output)[0]


def output_part(output: Any, path: str = "output") -> tuple[Tensor, str]:
    """The tensor that holds the scores, and where in the output it is, such as "output[0]". ModelError without one."""
    if isinstance(output, Tensor):
        return output, path
    candidates: list[tuple[Any, str]] = [(getattr(output, "logits", None), f"{path}.logits")]
    if isinstance(output, Mapping):
        keys = [key for key in ("logits", "out") if key in output] + list(output)
        candidates += [(output[key], f"{path}[{key!r}]") for key in keys]
    elif isinstance(output, (list, tuple)):
        candidates += [(item, f"{path}[{index}]") for index, item in enumerate(output)]
    for candidate, where in candidates:
        if isinstance(candidate, (Tensor, Mapping, list, tuple)):
            return output_part(candidate, where)
    raise ModelError(f"the network's output ({type(output).__name__}) holds no tensor to read classes from")


def positions(scores: Tensor) -> Tensor:
    """(N, K, L): the numbers of K classes at L positions, in the autograd graph where the scores are.

    scores: (N,), one score an image; (N, K); (N, K, 1, 1), which is the same; maps (N, K, H, W, ...); or tokens
    (N, L, K). ModelError for anything else.
    """
    if scores.ndim == 0 or 0 in scores.shape:
        raise ModelError(f"the network's output has no class scores: its shape is {tuple(scores.shape)}")
    if not scores.is_floating_point():
        scores = scores.float()
    if scores.ndim == 1:
        return scores[:, None, None]
    if scores[0, 0].numel() == 1:
        return scores.flatten(2) if scores.ndim > 2 else scores[..., None]
    return scores.transpose(1, 2) if scores.ndim == 3 else scores.flatten(2)


def is_detection(output: Any) -> bool:
    """Whether this is what torchvision's detection networks give: one dict of labels and scores an image."""
    return (
        isinstance(output, (list, tuple))
        and len(output) > 0
        and all(isinstance(boxes, Mapping) and {"labels", "scores"} <= boxes.keys() for boxes in output)
    )


def box_scores(output: Sequence[Mapping[str, Tensor]]) -> Tensor:
    """(N, K): the highest score of each class among an image's boxes. ModelError if there is no box."""
    labels = torch.cat([boxes["labels"] for boxes in output])
    if not len(labels):
        raise ModelError("the network found no object in the photo")
    count = int(labels.max()) + 1
    rows = []
    for boxes in output:
        row = boxes["scores"].new_zeros(count)
        rows.append(row.scatter_reduce(0, boxes["labels"], boxes["scores"], "amax"))
    return torch.stack(rows)


def top_boxes(boxes: Mapping[str, Tensor], classes: Sequence[str] | None, top: int) -> list[Prediction]:
    """The best boxes of an image as (class, score), a class as often as it has boxes."""
    scores = boxes["scores"].detach().float()
    require_finite(scores)
    best = scores.argsort(descending=True)[:top]
    labels = boxes["labels"][best].tolist()
    if classes is not None and labels and max(labels) >= len(classes):
        raise ModelError(f"{len(classes)} class names were given, and the network found class {max(labels)}")
    return [(class_name(classes, label), score) for label, score in zip(labels, scores[best].tolist(), strict=True)]


def require_finite(values: Tensor) -> None:
    """Raise ModelError if a number of the output is NaN or infinite."""
    if not bool(values.isfinite().all()):
        raise ModelError(
            "the network's output is not finite (NaN or infinity): look at its weights, and at mean and std"
        )
