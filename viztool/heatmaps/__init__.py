"""Heatmaps as results: one method, or several side by side; and whether they add up."""

from viztool.heatmaps.comparison import Comparison
from viztool.heatmaps.heatmap import Heatmap

__all__ = ["Comparison", "Heatmap"]
