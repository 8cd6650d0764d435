"""The rows of the benchmark: a module for each part of viztool, in the order of the table."""

from benchmarks import captures, drawing, folders, heatmaps, attributions, evaluations, kernels  # noqa: F401, I001  each adds its rows
from benchmarks import atlas, circuits, concepts, monitor, processes  # noqa: F401
