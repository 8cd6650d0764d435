"""What tells a class from those that are most like it."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from viztool.cam.evidence import Evidence
from viztool.cam.registry import method
from viztool.errors import TargetError

REFERENCES = 3
STRENGTH = 0.6


@method("finercam", "Finer-CAM", "Zhang et al. 2025, arXiv:2501.11309", gives="weights", relu=True, unit="score")
def finer_cam(evidence: Evidence) -> Tensor:
    """Grad-CAM of y_c − γ · mean of y_d over the 3 classes d whose scores are nearest to y_c, γ = 0.6.

    The number of classes, γ and what "most like" means are the authors' own.
    """
    question = evidence.question
    reading = question.target.reading
    if question.target.classes is None or reading is None:
        raise TargetError("finercam is of a class, by index or name; for a score of your own take method='gradcam'")
    chosen = list(question.target.classes)
    logits = reading.scores(question.output).float()
    if logits.shape[1] < 2:
        raise TargetError("finercam compares classes, and the network has one; take method='gradcam'")
    rows = list(range(len(chosen)))
    distance = (logits - logits[rows, chosen][:, None]).abs()
    distance[rows, chosen] = float("inf")
    nearest = distance.topk(min(REFERENCES, logits.shape[1] - 1), largest=False).indices
    question.details["references"] = [[reading.name(index) for index in row] for row in nearest.tolist()]

    def contrast(output: Any) -> Tensor:
        scores = reading.scores(output)
        return scores[rows, chosen] - STRENGTH * scores.gather(1, nearest).mean(1)

    gradients = question.layer_gradients("finercam", contrast)[evidence.layer]
    return evidence.as_maps(gradients).float().mean((2, 3), keepdim=True)
