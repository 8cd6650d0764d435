"""Weights from what the score loses without a channel."""

from __future__ import annotations

import torch
from torch import Tensor

from viztool.cam.evidence import Evidence
from viztool.cam.registry import method


@method(
    "ablationcam",
    "Ablation-CAM",
    "Desai and Ramaswamy 2020, doi:10.1109/WACV45572.2020.9093360",
    gives="weights",
    relu=True,
    unit="activation",
)
def ablation_cam(evidence: Evidence) -> Tensor:
    """L = ReLU(Σ_k w_k A_k), w_k = (y − y_k) / |y|: y_k is the score with A_k set to zero.

    The paper divides by y, which is a logit here and may be negative: the map would be turned upside down.
    """
    without = evidence.scores_without()
    scores = evidence.scores[:, None]
    return torch.where(scores != 0, (scores - without) / scores.abs(), 0)[:, :, None, None]
