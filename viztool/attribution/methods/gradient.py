"""The gradient of the score at the input."""

from __future__ import annotations

from torch import Tensor

from viztool.attribution.registry import method
from viztool.targets.question import Question


@method("gradient", "Gradient", "Simonyan et al. 2014", unit="score / input")
def gradient(question: Question) -> Tensor:
    """∂f/∂x, with its sign (the paper draws its largest absolute value over channels)."""
    return question.gradients(question.x[None])[0]


@method("gradient_x_input", "Gradient × input", "Shrikumar et al. 2016", unit="score")
def gradient_x_input(question: Question) -> Tensor:
    """X · ∂f/∂x. Of a linear model, each pixel's own part of the score."""
    return question.gradients(question.x[None])[0] * question.x.float()
