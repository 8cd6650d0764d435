"""What small trainings show: claim 32, and what of 11, 20, 23 and 28 is about learning."""

import numpy as np
import pytest
import torch

from viztool.demos import run_demo
from viztool.demos.concepts.training_upsampling import _WAYS, Enlarger, grid_of_a_constant


@pytest.mark.parametrize("way", _WAYS)
def test_only_some_ways_begin_with_a_grid(way):
    grids = []
    for seed in range(5):
        torch.manual_seed(seed)
        grids.append(grid_of_a_constant(Enlarger(way)))
    if way in ("shuffle + ICNR", "nearest + conv"):
        assert max(grids) < 1e-3
    else:
        assert np.median(grids) > 3


def test_noise_in_training_makes_robust():
    result = run_demo("noise")
    numbers = result.numbers
    assert numbers["lost"]["with noise"] < numbers["lost"]["without noise"]
    trained_with, without = (numbers["accuracy"][name] for name in ("with noise", "without noise"))
    assert min(row[-1] for row in trained_with) > max(row[-1] for row in without)
    assert min(row[0] for row in without) > 0.6, "it learns the task, against a quarter by chance"
    assert result.picture().shape[1] == 1340


def test_dropout_narrows_the_gap():
    numbers = run_demo("training-dropout").numbers
    gaps = {way: [seen[-1] - other[-1] for seen, other in runs] for way, runs in numbers["runs"].items()}
    assert len(gaps["no dropout"]) == len(gaps["dropout ½"]) == 3
    assert min(gaps["no dropout"]) > max(gaps["dropout ½"])


def test_batch_norm_lets_sigmoids_learn():
    numbers = run_demo("training-batchnorm").numbers
    assert numbers["final_loss"]["sigmoid"] > 0.6, "near chance"
    assert max(numbers["final_loss"][way] for way in ("sigmoid + batch norm", "ReLU", "sigmoid, Adam")) < 0.4
    ratio = numbers["first_over_last_gradient"]
    assert ratio["sigmoid"] < 1e-5 < 1e-2 < ratio["sigmoid + batch norm"]
