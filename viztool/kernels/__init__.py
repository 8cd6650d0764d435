"""What a kernel looks for: its weights, the picture that excites it most, and the photos that do."""

from viztool.kernels.ascent import Optima, Progress
from viztool.kernels.loop import maximize
from viztool.kernels.result import KernelSheet
from viztool.kernels.visualize import visualize_kernels

__all__ = ["KernelSheet", "Optima", "Progress", "maximize", "visualize_kernels"]
