"""What a kernel looks for: its weights, the picture that excites it most, and the photos that do."""

from viztool.kernels.ascent import Optima, Progress
from viztool.kernels.loop import maximize
from viztool.kernels.recipe import Recipe
from viztool.kernels.result import KernelSheet
from viztool.kernels.task import Run
from viztool.kernels.visualize import Beside, visualize_kernels

__all__ = ["Beside", "KernelSheet", "Optima", "Progress", "Recipe", "Run", "maximize", "visualize_kernels"]
