"""Weights from the Shapley values of the channels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from viztool.cam.evidence import Evidence
from viztool.cam.registry import method
from viztool.errors import LayerError
from viztool.tensors.graph import mend_norms


@method("shapleycam", "ShapleyCAM", "Cai 2025, arXiv:2501.06261", gives="weights", relu=True, unit="score")
def shapley_cam(evidence: Evidence) -> Tensor:
    """L = ReLU(Σ_k w_k A_k), w_k = 1/Z Σ_ij (g − ½ H A)_k(i, j), H the Hessian of the score by the activations.

    The Shapley value of an activation in the second-order expansion of the score around the layer. Behind a
    tail that is piecewise linear H is 0, and this is Grad-CAM: the paper then takes for score
    y + log softmax(y), for which one gives a target of one's own.
    """
    rest = evidence.replay
    start = rest.activations.detach().requires_grad_()
    curved = None
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):  # the fused kernels have no second derivative
        scores = evidence.question.target.scores(rest(start.clone()))  # a clone, as the next layer may work in place
        mend_norms(scores)
        (gradients,) = torch.autograd.grad(scores.sum(), start, create_graph=True)
        if gradients.requires_grad:
            try:
                (curved,) = torch.autograd.grad(gradients, start, start.detach(), allow_unused=True)
            except RuntimeError as error:
                if "not implemented" not in str(error):
                    raise
                raise LayerError(
                    f"shapleycam needs second derivatives, and behind {evidence.layer!r} is an operation without: "
                    f"{str(error).splitlines()[0]}; take method='gradcam'"
                ) from error
    values = gradients.detach() if curved is None else gradients.detach() - curved / 2
    return evidence.as_maps(values).float().mean((2, 3), keepdim=True)
