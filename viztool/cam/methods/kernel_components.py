"""Eigen-CAM through a kernel."""

from __future__ import annotations

from torch import Tensor

from viztool.cam.decomposition import leading, oriented
from viztool.cam.evidence import Evidence
from viztool.cam.registry import method
from viztool.errors import LayerError

MOST_POSITIONS = 10_000
"""The kernel's matrix is positions × positions: of so many, 400 MB for each image."""


@method("kpcacam", "KPCA-CAM", "Karmani et al. 2024, arXiv:2410.00267", gives="map", signed=True, unit="component")
def kpca_cam(evidence: Evidence) -> Tensor:
    """The first kernel principal component, √λ₁ u₁, of K(a, b) = tanh(a·b / C + 1), centred in feature space.

    a and b are the C activations at two positions, minus their means over positions. The sigmoid kernel with
    these constants is what the authors' implementation (in pytorch-grad-cam) takes by default.
    """
    maps = evidence.activations
    samples = maps.flatten(2).mT
    positions, channels = samples.shape[1:]
    if positions > MOST_POSITIONS:
        raise LayerError(
            f"kpcacam compares all positions with one another, and {evidence.layer!r} has {positions}; "
            "choose a later layer, with smaller maps"
        )
    samples = samples - samples.mean(1, keepdim=True)
    kernel = (samples @ samples.mT / channels + 1).tanh()
    kernel = kernel - kernel.mean(1, keepdim=True)
    kernel = kernel - kernel.mean(2, keepdim=True)
    return oriented(leading(kernel).unflatten(1, maps.shape[2:]), maps)
