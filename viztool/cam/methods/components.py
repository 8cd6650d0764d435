"""Methods that show the first principal component of the channels."""

from __future__ import annotations

from torch import Tensor

from viztool.cam.decomposition import first_component
from viztool.cam.evidence import Evidence
from viztool.cam.registry import method


@method(
    "eigencam", "Eigen-CAM", "Muhammad and Yeasin 2020, arXiv:2008.00299", gives="map", signed=True, unit="activation"
)
def eigen_cam(evidence: Evidence) -> Tensor:
    """L = O v₁, where O = U Σ Vᵀ are the activations, positions × channels: of no class, but of the layer.

    O is not centred, as in the paper: what all positions share is part of what the layer says.
    """
    return first_component(evidence.activations)


@method(
    "eigengradcam",
    "Eigen-Grad-CAM",
    "Gildenblat 2021, github.com/jacobgil/pytorch-grad-cam",
    gives="map",
    signed=True,
    unit="score",
)
def eigen_grad_cam(evidence: Evidence) -> Tensor:
    """Eigen-CAM of g_k(i, j) A_k(i, j) in place of A_k(i, j), and so of a class."""
    return first_component(evidence.gradients * evidence.activations)
