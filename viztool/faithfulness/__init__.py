"""Is the heatmap true? Numbers for it, each beside those of random maps."""

from viztool.faithfulness.boxes import energy_in_box, pointing_game
from viztool.faithfulness.errors import HeatmapError
from viztool.faithfulness.evaluate import evaluate_heatmap
from viztool.faithfulness.result import Evaluation
from viztool.faithfulness.score import Score

__all__ = [
    "Evaluation",
    "HeatmapError",
    "Score",
    "energy_in_box",
    "evaluate_heatmap",
    "pointing_game",
]
