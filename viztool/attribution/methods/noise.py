"""Gradients of noisy copies of the input: their mean and their variance."""

from __future__ import annotations

import torch
from torch import Tensor

from viztool.attribution.registry import at_least, method
from viztool.targets.question import Question


@method("smoothgrad", "SmoothGrad", "Smilkov et al. 2017", unit="score / input", seeded=True)
def smoothgrad(question: Question, *, samples: int = 50, noise: float = 0.15) -> Tensor:
    """1/n Σ ∂f/∂x at x + ε, ε ~ N(0, σ²), σ = noise · (max x − min x)."""
    return _moments(question, samples, noise)[0]


@method("vargrad", "VarGrad", "Adebayo et al. 2018", unit="(score / input)²", signed=False, seeded=True)
def vargrad(question: Question, *, samples: int = 50, noise: float = 0.15) -> Tensor:
    """1/n Σ (g − mean g)², g = ∂f/∂x at x + ε as in SmoothGrad."""
    return _moments(question, samples, noise)[1]


def _moments(question: Question, samples: int, noise: float) -> tuple[Tensor, Tensor]:
    """The mean and the variance of the gradients, gathered chunk by chunk (Chan et al. 1979)."""
    at_least(1, samples=samples)
    x = question.x.float()
    spread = noise * (x.flatten(1).amax(1) - x.flatten(1).amin(1)).view(-1, *(1,) * (x.dim() - 1))
    generator = question.generator()
    mean, squares, seen = torch.zeros_like(x), torch.zeros_like(x), 0
    for part in question.chunks(samples):
        # Each image of the batch gets the noise that it would get alone.
        draws = [torch.randn(x.shape[1:], generator=generator) for _ in range(part.stop - part.start)]
        gradients = question.gradients(x + spread * torch.stack(draws)[:, None].to(x.device))
        own, count = gradients.mean(0), len(gradients)
        shift = own - mean
        seen += count
        mean += shift * (count / seen)
        squares += ((gradients - own) ** 2).sum(0) + shift**2 * (count * (seen - count) / seen)
    return mean, squares / seen
