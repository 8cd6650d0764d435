"""Claim 11: the checkerboard."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from viztool.demos import DemoError, run_demo
from viztool.demos.concepts.checkerboard import overlap, phase_sums, upsamplings
from viztool.demos.signal import grid_index, phases


@pytest.fixture(scope="module")
def numbers():
    return run_demo("checkerboard").numbers


def test_overlap(numbers):
    found = numbers["overlap"]
    assert found["k3 s2"] == {"counts": [1, 2, 4], "max_over_min": 4}
    assert found["k5 s2"] == {"counts": [4, 6, 9], "max_over_min": 2.25}
    assert found["k4 s2"] == {"counts": [4], "max_over_min": 1}
    assert overlap(5, 3).tolist() == [[4, 4, 2], [4, 4, 2], [2, 2, 1]]


def test_random_kernels(numbers):
    """Three independent sums beside their mean: Beta(3/2, 1/2), .75 on average, .25 / √1200 from run to run."""
    found = numbers["random_kernels"]
    for name in ("transposed k4 s2", "pixel shuffle"):
        assert found[name]["constant"] == pytest.approx(0.75, abs=4 * 0.25 / 1200**0.5)
        assert found[name]["noise"] == pytest.approx(1.01, abs=0.02)
    assert found["transposed k3 s2"]["constant"] == pytest.approx(0.759, abs=4 * 0.25 / 1200**0.5)
    assert found["transposed k3 s2"]["noise"] == pytest.approx(4.02, abs=0.15)
    for name in ("pixel shuffle + ICNR", "nearest + conv", "bilinear + conv"):
        assert found[name]["constant"] == pytest.approx(0, abs=1e-9)
        assert found[name]["noise"] == pytest.approx(1, abs=0.02)


def test_phase_sums_are_the_test(numbers):
    found = numbers["phase_sums"]
    assert found["bilinear 3 × 3"]["phase_sums"] == [[1, 1], [1, 1]]
    assert found["bilinear 3 × 3"]["variance_of_a_constant"] == 0
    assert found["random 4 × 4"]["variance_of_a_constant"] > 0.1


@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (4, 2), (5, 2), (5, 3), (7, 4)])
def test_phase_sums_are_what_a_constant_becomes(kernel, stride):
    weight = torch.randn(kernel, kernel, dtype=torch.float64)
    out = F.conv_transpose2d(torch.ones(1, 1, 9, 9, dtype=torch.float64), weight[None, None], stride=stride)[0, 0]
    inside = out[4 * stride : 5 * stride, 4 * stride : 5 * stride]
    assert torch.allclose(phase_sums(weight, stride), inside, atol=1e-12)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (4, 2), (5, 3), (2, 2)])
def test_every_way_enlarges_by_the_stride(kernel, stride):
    for name, (shape, up) in upsamplings(kernel, stride).items():
        assert up(torch.randn(1, 16, 6, 7), torch.randn(shape)).shape == (1, 3, 6 * stride, 7 * stride), name


def test_the_index_is_the_energy_at_the_harmonics():
    maps = torch.randn(3, 24, 18, dtype=torch.float64)
    energy = torch.fft.fft2(maps).abs() ** 2
    harmonics = energy[:, ::8, ::6].sum((1, 2)) - energy[:, 0, 0]
    whole = energy.sum((1, 2)) - energy[:, 0, 0]
    assert torch.allclose(grid_index(maps, 3), harmonics / whole)
    assert grid_index(torch.ones(1, 4, 4), 2).tolist() == [0.0]


def test_phases_are_every_second_pixel():
    maps = torch.arange(24.0).reshape(4, 6)
    assert torch.equal(phases(maps, 2)[0, 1], maps[0::2, 1::2])


def test_backward(numbers):
    found = numbers["backward"]
    assert found["chance"] == pytest.approx(3 / (64**2 - 1))
    assert found["resnet18"]["grid"] > 20 * found["chance"]
    assert found["vgg11"]["grid"] < 10 * found["chance"]


def test_another_kernel_and_stride():
    numbers = run_demo("checkerboard", kernel=5, stride=3).numbers
    assert numbers["overlap"]["k5 s3"] == {"counts": [1, 2, 4], "max_over_min": 4}
    assert "transposed k6 s3" in numbers["random_kernels"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stride": 1}, "stride is 1; with less than 2 nothing is enlarged"),
        ({"kernel": 11}, "kernel is 11; give one from 2 to 9"),
    ],
)
def test_what_it_cannot_do(options, message):
    with pytest.raises(DemoError, match=f"^{message}$"):
        run_demo("checkerboard", np.zeros((40, 40, 3), np.uint8), **options)
