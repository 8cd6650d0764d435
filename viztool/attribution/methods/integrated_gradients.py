"""Integrated gradients."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from viztool.attribution.registry import at_least, method
from viztool.heatmaps.balance import balance
from viztool.targets.question import Question


@method("integrated_gradients", "Integrated gradients", "Sundararajan et al. 2017", unit="score", baseline=True)
def integrated_gradients(question: Question, baseline: Tensor, *, steps: int = 50) -> Tensor:
    """(x − b) · ∫₀¹ ∂f/∂x at b + t(x − b) dt, by Gauss–Legendre quadrature.

    Complete: the sum is f(x) − f(b); how far the quadrature is from it stands in `.details["completeness"]`.
    """
    at_least(1, steps=steps)
    x, baseline = question.x.float(), baseline.float()
    way = x - baseline
    nodes, weights = (torch.from_numpy(each).to(x) for each in _quadrature(steps))
    shape = (-1, *(1,) * x.dim())
    total = torch.zeros_like(x)
    for part in question.chunks(steps):
        gradients = question.gradients(baseline + nodes[part].view(shape) * way)
        total += (gradients * weights[part].view(shape)).sum(0)
    attribution = total * way
    difference = question.score - question.scores(baseline[None])[0]
    question.details["completeness"] = balance(attribution, difference, "f(x) − f(baseline)")
    return attribution


def _quadrature(steps: int) -> tuple[np.ndarray, np.ndarray]:
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    return (nodes + 1) / 2, weights / 2
