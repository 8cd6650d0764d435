"""Is the heatmap true? Numbers for it, each beside those of random maps, and checks that take the network apart."""

from viztool.faithfulness.boxes import energy_in_box, pointing_game
from viztool.faithfulness.errors import HeatmapError
from viztool.faithfulness.evaluate import evaluate_heatmap
from viztool.faithfulness.randomization import randomize_labels, randomize_weights
from viztool.faithfulness.result import Evaluation
from viztool.faithfulness.sanity import SanityCheck
from viztool.faithfulness.score import Score

__all__ = [
    "Evaluation",
    "HeatmapError",
    "SanityCheck",
    "Score",
    "energy_in_box",
    "evaluate_heatmap",
    "pointing_game",
    "randomize_labels",
    "randomize_weights",
]
