"""Claims 13, 15 to 17, 19 to 22: pooling, forward and backward."""

import pytest
import torch
from torch.nn import functional as F

from viztool.demos import run_demo
from viztool.demos.concepts.pooling_backward import received
from viztool.demos.concepts.pooling_invariance import blur_pool


def test_unpooling_is_worse_in_every_number():
    numbers = run_demo("unpooling").numbers
    assert numbers["filled"] == 0.25
    expected = {"indices": (9.30, 0.29), "replicate": (23.19, 0.53), "bilinear": (24.10, 0.65)}
    for way, (decibels, correlation) in expected.items():
        assert numbers["ways"][way]["psnr"] == pytest.approx(decibels, abs=0.006)
        assert numbers["ways"][way]["high_pass_correlation"] == pytest.approx(correlation, abs=0.005)


class TestPooling:
    def test_parameters(self):
        numbers = run_demo("pooling").numbers
        assert numbers["parameters"] == {
            "lenet5_s2": 12,
            "lenet5_s2_connections": 5880,
            "today": [0, 0, 0],
            "channels": [6, 6, 6],
        }
        later = numbers["later_layers"]
        assert later["dense without"] == 16 * 28 * 28 * 120 + 120
        assert later["dense behind pooling"] == 16 * 14 * 14 * 120 + 120

    @pytest.mark.parametrize("seed", [0, 1])
    def test_ink_of_both_polarities(self, seed):
        ink = run_demo("pooling", seed=seed).numbers["ink"]
        assert ink["after_mean"] == pytest.approx(ink["before"], abs=1e-12)
        assert ink["after_max"]["black ink"] < 0.005
        assert ink["after_max"]["white ink"] > 2.5 * ink["before"]

    @pytest.mark.parametrize("seed", [0, 1])
    def test_estimates(self, seed):
        """90,000 blocks: five standard errors."""
        noise = run_demo("pooling", seed=seed).numbers["noise"]
        assert noise["max"]["mean"] == pytest.approx(1.03, abs=5 * 0.7 / 300)
        assert noise["max"]["sd"] == pytest.approx(0.70, abs=5 * 0.5 / 300)
        assert noise["mean"]["mean"] == pytest.approx(0, abs=5 * 0.5 / 300)
        assert noise["mean"]["sd"] == pytest.approx(0.5, abs=5 * 0.36 / 300)


class TestInvariance:
    def test_by_its_stride_exactly_by_one_not(self):
        numbers = run_demo("pooling-invariance").numbers
        assert numbers["difference_after_shift_by_2"] == 0
        moved = numbers["change_by_one_pixel"]
        assert moved["input"] == pytest.approx(0.83, abs=0.02)
        assert moved["max pool 2"] == pytest.approx(0.56, abs=0.01)
        assert moved["blur pool"] == pytest.approx(0.41, abs=0.01)
        assert numbers["small"] == {"still": [0, 1, 0, 1], "moved": [1, 1, 1, 1]}

    def test_rotation(self):
        rotation = run_demo("pooling-invariance").numbers["rotation"]
        assert rotation["difference_at_90_degrees"] == 0
        assert rotation["at_10_degrees"]["max pool 2"] > 0.9 * rotation["at_10_degrees"]["input"]

    def test_blur_pool_keeps_a_constant(self):
        assert torch.allclose(blur_pool(torch.full((1, 1, 10, 12), 3.0)), torch.full((1, 1, 5, 6), 3.0))


def test_a_stride_is_a_mean_never_a_max():
    numbers = run_demo("stride-vs-pool").numbers
    assert numbers["difference_to_mean"] == 0
    assert numbers["not_additive_by"] == -8
    assert 1 < numbers["nearest_to_max"]["rms"] < numbers["nearest_to_max"]["rms_of_the_mean"]


class TestBackward:
    def test_where_the_gradient_goes(self):
        numbers = run_demo("pooling-backward").numbers
        assert sum(map(sum, numbers["small"]["max"])) == sum(map(sum, numbers["small"]["mean"])) == 4
        assert numbers["fails"]["tie"] == [[1, 0], [0, 0]]
        assert max(map(max, numbers["fails"]["overlap"])) == 2
        assert numbers["fails"]["outputs"] == 25
        assert numbers["fails"]["padded_sum"] == pytest.approx(18.78, abs=0.005)

    def test_what_the_pixels_get_by_hand(self):
        """Along a side of 9, k3 s2 p1: windows at −1, 1, 3, 5, 7, so 1, 2, 1, 2 ... of them cover a pixel."""
        row = torch.tensor([1.0, 2, 1, 2, 1, 2, 1, 2, 1])
        found = received(torch.zeros(1, 1, 9, 9), lambda x: F.avg_pool2d(x, 3, 2, 1))
        assert torch.allclose(found, torch.outer(row, row) / 9)
