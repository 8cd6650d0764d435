"""Claim 32: what small trainings show."""

from viztool.demos import run_demo


def test_noise_in_training_makes_robust():
    result = run_demo("noise")
    numbers = result.numbers
    assert numbers["lost"]["with noise"] < numbers["lost"]["without noise"]
    trained_with, without = (numbers["accuracy"][name] for name in ("with noise", "without noise"))
    assert min(row[-1] for row in trained_with) > max(row[-1] for row in without)
    assert min(row[0] for row in without) > 0.6, "it learns the task, against a quarter by chance"
    assert result.picture().shape[1] == 1340
