"""A map of nothing: what a method has to be better than."""

from __future__ import annotations

import torch
from torch import Tensor

from viztool.cam.evidence import Evidence
from viztool.cam.registry import method


@method("random", "random", "control", gives="map", unit="")
def random(evidence: Evidence) -> Tensor:
    """L(i, j) uniform in [0, 1), the same for each image, so that a batch gives what its images give one by one."""
    maps = evidence.activations
    values = torch.rand(maps.shape[2:], generator=evidence.generator(0))
    return values.to(maps.device).expand(len(maps), -1, -1)
