"""The gradient of the score at the input."""

from __future__ import annotations

from torch import Tensor

from viztool.attribution.problem import Problem
from viztool.attribution.registry import method


@method("gradient", "Gradient", "Simonyan et al. 2014", unit="score / input")
def gradient(problem: Problem) -> Tensor:
    """∂f/∂x, with its sign (the paper draws its largest absolute value over channels)."""
    return problem.gradients(problem.x[None])[0]


@method("gradient_x_input", "Gradient × input", "Shrikumar et al. 2016", unit="score")
def gradient_x_input(problem: Problem) -> Tensor:
    """X · ∂f/∂x. Of a linear model, each pixel's own part of the score."""
    return problem.gradients(problem.x[None])[0] * problem.x.float()
