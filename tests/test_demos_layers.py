"""Claims 9, 10, 12, 14 and 23 to 33: the other layers."""

import numpy as np
import pytest
import torch

from viztool.demos import run_demo
from viztool.demos.concepts.counting import as_matrix
from viztool.demos.concepts.padding import usage


def test_conv3d():
    numbers = run_demo("conv3d").numbers
    assert numbers["difference"] == 0
    assert numbers["parameters"] == {"conv2d": 1160, "conv3d": 224}


def test_transposed_restores_the_size_only():
    numbers = run_demo("transposed").numbers
    assert len(numbers["zero_insertion"]) == 4
    assert max(numbers["zero_insertion"].values()) <= 5e-6
    assert numbers["photo"]["mean_difference"] > 0.1
    assert numbers["adjoint"]["left"] == pytest.approx(numbers["adjoint"]["right"])


def test_upsampling():
    numbers = run_demo("upsampling").numbers
    assert numbers["errors"]["plane"] <= 1e-12
    assert numbers["errors"]["opencv"] <= 5e-7 < 0.01 < numbers["errors"]["opencv_align_corners"]
    assert np.sum(numbers["at_p"]["weights"]) == 1
    assert numbers["learned"]["difference"] < 1e-6


class TestCounting:
    def test_lenet(self):
        numbers = run_demo("counting").numbers
        assert (numbers["parameters"], numbers["connections"]) == (156, 122_304)
        assert numbers["fully_connected"] == 4_821_600

    def test_the_matrix_is_the_layer(self):
        layer = torch.nn.Conv2d(1, 2, 3, padding=1)
        x = torch.randn(1, 1, 5, 5)
        bias = layer(torch.zeros(1, 1, 5, 5)).flatten()
        assert torch.allclose(as_matrix(layer, 5) @ x.flatten() + bias, layer(x).flatten(), atol=1e-6)


class TestBatchNorm:
    def test_variance(self):
        numbers = run_demo("batchnorm").numbers
        assert numbers["small_variance"]["after"] == pytest.approx(0.99894, abs=5e-6)
        for before, after in zip(numbers["photo"]["variance"], numbers["photo"]["variance_after"], strict=True):
            assert after == pytest.approx(before / (before + 1e-5), abs=1e-9)

    def test_a_bias_does_nothing_and_gamma_and_beta_undo_it(self):
        numbers = run_demo("batchnorm").numbers
        assert numbers["bias_changes"] < 1e-12
        assert numbers["undone_within"] < 3e-6

    @pytest.mark.parametrize("seed", [0, 1, 2])
    def test_gradients(self, seed):
        ratio = run_demo("batchnorm", seed=seed).numbers["gradients"]["first_over_last"]
        assert ratio["without"] < 1e-5 < 0.1 < ratio["with"]


class TestActivations:
    def test_slopes(self):
        numbers = run_demo("activations").numbers
        assert numbers["slope_of_sigmoid_at_10"] == pytest.approx(4.54e-5, abs=5e-8)
        assert numbers["quarter_to_the_20"] == pytest.approx(9.1e-13, abs=5e-15)
        assert numbers["tanh_is_scaled_sigmoid_within"] < 1e-14

    @pytest.mark.parametrize("seed", [0, 1, 2])
    def test_twenty_layers(self, seed):
        ratio = run_demo("activations", seed=seed).numbers["gradients"]["first_over_last"]
        assert ratio["sigmoid"] < 1e-11
        assert 0.3 < ratio["ReLU"] < 3
        assert 0.3 < ratio["tanh"] < 10


def test_linear_stack():
    numbers = run_demo("linear-stack").numbers
    assert numbers["difference"] <= 1e-13
    assert numbers["padded"]["inside"] <= 1e-13
    assert numbers["padded"]["border"] > 0.01
    assert numbers["with_relu"] > 0.01


def test_depth():
    networks = run_demo("depth").numbers["networks"]
    assert networks["vgg16"]["layers"] == 16
    assert networks["resnet18"] == {"layers": 21, "beside_shortcuts": 18, "parameters": 11_689_512}
    assert networks["vgg16"]["parameters"] == pytest.approx(138.4e6, abs=5e4)
    assert networks["resnet50"]["parameters"] == pytest.approx(25.6e6, abs=5e4)


@pytest.mark.parametrize("seed", [0, 1])
def test_dropout(seed):
    numbers = run_demo("dropout", seed=seed).numbers
    assert numbers["values"] == [0, 2]
    assert numbers["mean"] == pytest.approx(1, abs=5 / 512)
    assert numbers["changes_in_evaluation"] == 0
    assert 16 < numbers["channels_dropped"] < 48


def test_padding():
    assert (usage(5, 3, 0)[0, 0], usage(5, 3, 0)[2, 2]) == (1, 9)
    assert (usage(5, 3, 1)[0, 0], usage(5, 3, 1)[2, 2]) == (4, 9)
    assert run_demo("padding").numbers["photo"]["darker_at_the_border"] > 0.05


def test_kernels_by_ascent():
    numbers = run_demo("kernels-by-ascent").numbers
    assert numbers["one_position"]["cosine"] == pytest.approx(1, abs=1e-6)
    assert numbers["mean_response"]["inside"] == 0
    assert numbers["energy"]["gain"] == pytest.approx(8.0, abs=0.005)
    assert numbers["energy"]["share_at_a_quarter"] > 0.998


def test_inplace():
    said = run_demo("inplace").numbers["said"]
    assert "is being used in an in-place operation" in said["a leaf that needs gradients"]
    assert said["the same under no_grad"] == ""
