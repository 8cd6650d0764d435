"""The first of all: a network that ends in global average pooling and one linear layer holds its map already."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from viztool.cam.evidence import Evidence
from viztool.cam.registry import method
from viztool.errors import LayerError, TargetError


@method("cam", "CAM", "Zhou et al. 2016, arXiv:1512.04150", gives="weights", signed=True, unit="score")
def cam(evidence: Evidence) -> Tensor:
    """M = Σ_k w_k A_k: the weights of the class in the linear layer (eq. 2).

    The mean of M over positions, with the layer's bias, is the class's score (eq. 1).
    """
    classes, reading = evidence.question.target.classes, evidence.question.target.reading
    if classes is None or reading is None:
        raise TargetError("cam is of a class, by index or name; for a score of your own take method='gradcam'")
    maps, scores = evidence.activations, reading.scores(evidence.question.output)
    # A ReLU behind the layer is often a call of a function, which has no output to name.
    for seen in (torch.ones_like(maps), (maps > 0).float()):
        weights = _head(evidence, scores, (maps * seen).mean((2, 3)))
        if weights is not None:
            return weights[list(classes)][:, :, None, None] * seen
    raise LayerError(
        "cam needs a network that ends in global average pooling and one linear layer right behind "
        f"{evidence.layer!r}, and this one does not; take method='gradcam'"
    )


def _head(evidence: Evidence, scores: Tensor, pooled: Tensor) -> Tensor | None:
    """(K, C): the weights of a linear layer that makes the scores of the classes from these means, if one does.

    One output for two classes speaks for the second, and against the first.
    """
    # Sums over all channels, each rounded: half precision keeps 8 or 11 bits.
    tolerance = max(1e-4, 8 * torch.finfo(scores.dtype).eps) * float(scores.abs().max())
    for layer in evidence.question.net.modules():
        if not isinstance(layer, nn.Linear | nn.Conv2d):
            continue
        weight = layer.weight.detach().float().flatten(1)
        bias = weight.new_zeros(len(weight)) if layer.bias is None else layer.bias.detach().float()
        if len(weight) == 1:
            weight, bias = torch.cat([-weight, weight]), torch.cat([-bias, bias])
        if weight.shape != (scores.shape[1], pooled.shape[1]):
            continue
        if torch.allclose(F.linear(pooled, weight, bias), scores.float(), rtol=0, atol=tolerance):
            return weight
    return None
