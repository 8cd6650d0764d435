"""Methods that weight the activations by gradients.

A_k is channel k of the layer, g_k = ∂y/∂A_k the gradient of the score there, Z the number of positions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from viztool.cam.evidence import Evidence
from viztool.cam.registry import method

SMOOTHING_SAMPLES = 8
SMOOTHING_NOISE = 0.15
"""The noise's standard deviation, as a share of the range of the input: SmoothGrad (Smilkov et al. 2017) uses
0.1 to 0.2."""


@method("gradcam", "Grad-CAM", "Selvaraju et al. 2017, arXiv:1610.02391", gives="weights", relu=True, unit="score")
def grad_cam(evidence: Evidence) -> Tensor:
    """L = ReLU(Σ_k α_k A_k), α_k = 1/Z Σ_ij g_k(i, j) (eqs. 1 and 2)."""
    return evidence.gradients.mean((2, 3), keepdim=True)


@method(
    "gradcam++", "Grad-CAM++", "Chattopadhay et al. 2018, arXiv:1710.11063", gives="weights", relu=True, unit="score"
)
def grad_cam_plus_plus(evidence: Evidence) -> Tensor:
    """L = ReLU(Σ_k w_k A_k), w_k = Σ_ij α_k(i, j) ReLU(g_k(i, j)), α = g² / (2 g² + ΣA_k · g³) (eq. 19).

    Without the factor exp(y) of the paper's Y = exp(y): it is the same everywhere, and overflows.
    """
    gradients = evidence.gradients
    return plus_plus_weights(evidence.activations, gradients, gradients**2, gradients**3)


@method(
    "smoothgradcam++",
    "Smooth Grad-CAM++",
    "Omeiza et al. 2019, arXiv:1908.01224",
    gives="weights",
    relu=True,
    unit="score",
)
def smooth_grad_cam_plus_plus(evidence: Evidence) -> Tensor:
    """Grad-CAM++ with g, g² and g³ each the mean over noisy copies of the input; A_k of the input itself.

    The paper's α has the mean of g above the line, where Grad-CAM++, which it takes α from, has g².
    """
    x = evidence.question.x
    spread = (x.flatten(1).amax(1) - x.flatten(1).amin(1)).view(-1, *(1,) * (x.dim() - 1))
    first = second = third = torch.zeros_like(evidence.activations)
    for sample in range(SMOOTHING_SAMPLES):
        # The same noise for each image, so that a batch gives what its images give one by one.
        noise = torch.randn(x.shape[1:], generator=evidence.generator(sample)).to(x)
        gradients = evidence.on(x + SMOOTHING_NOISE * spread * noise).gradients
        first, second, third = first + gradients, second + gradients**2, third + gradients**3
    return plus_plus_weights(evidence.activations, *(total / SMOOTHING_SAMPLES for total in (first, second, third)))


def plus_plus_weights(activations: Tensor, first: Tensor, second: Tensor, third: Tensor) -> Tensor:
    """Grad-CAM++'s w_k from the means of g, g² and g³: all (N, C, h, w), to (N, C, 1, 1)."""
    below = 2 * second + activations.sum((2, 3), keepdim=True) * third
    # Where the gradient is 0, so is α: 0/0 otherwise. No ε: gradients at a layer are often smaller than one.
    alpha = torch.where(below != 0, second / below, 0)
    return (alpha * first.relu()).sum((2, 3), keepdim=True)


@method("xgradcam", "XGrad-CAM", "Fu et al. 2020, arXiv:2008.02312", gives="weights", relu=True, unit="score")
def x_grad_cam(evidence: Evidence) -> Tensor:
    """L = ReLU(Σ_k w_k A_k), w_k = Σ_ij g_k(i, j) A_k(i, j) / Σ_ij A_k(i, j)."""
    total = evidence.activations.sum((2, 3), keepdim=True)
    product = (evidence.gradients * evidence.activations).sum((2, 3), keepdim=True)
    return torch.where(total != 0, product / total, 0)


@method("hirescam", "HiResCAM", "Draelos and Carin 2020, arXiv:2011.08891", gives="weights", signed=True, unit="score")
def hi_res_cam(evidence: Evidence) -> Tensor:
    """L(i, j) = Σ_k g_k(i, j) A_k(i, j): each place by its own gradient, for and against."""
    return evidence.gradients


@method(
    "layercam",
    "LayerCAM",
    "Jiang et al. 2021, doi:10.1109/TIP.2021.3089943",
    gives="weights",
    relu=True,
    unit="score",
)
def layer_cam(evidence: Evidence) -> Tensor:
    """L(i, j) = ReLU(Σ_k ReLU(g_k(i, j)) A_k(i, j)).

    Without tanh(γ L / max L), by which the paper scales the maps of early layers before it fuses them.
    """
    return evidence.gradients.relu()


@method(
    "elementwise",
    "Grad-CAM element-wise",
    "Pillai and Pirsiavash 2021, doi:10.1609/aaai.v35i3.16344",
    gives="weights",
    unit="score",
)
def element_wise(evidence: Evidence) -> Tensor:
    """L(i, j) = Σ_k ReLU(g_k(i, j) A_k(i, j)): what speaks for the class, and nothing against it."""
    gradients = evidence.gradients
    return torch.where(gradients * evidence.activations > 0, gradients, 0)
