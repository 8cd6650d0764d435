"""The demos that look at a network: small ones, of which the answer is known."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

import viztool
from viztool.cli import main
from viztool.demos import DemoError, network_demos, run_demo
from viztool.demos.on_networks.activations import _flat
from viztool.demos.on_networks.checkerboard import uneven, upsampling_layers
from viztool.demos.on_networks.receptive_field import central_energy
from viztool.errors import ModelError

NAMES = ("receptive-field", "checkerboard", "counting", "pooling-invariance", "activations")


def wrapped(*layers):
    return viztool.wrap_model(nn.Sequential(*layers), size=(64, 64), mean=0.5, std=0.5)


@pytest.fixture
def net():
    return wrapped(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 6, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


def test_there_are_five():
    assert sorted(network_demos()) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_network_stays_as_it_was(name, net):
    net.net.train()
    net.net[0].weight.requires_grad_(False)
    before = {key: value.clone() for key, value in net.net.state_dict().items()}
    result = run_demo(name, model=net)
    assert result.picture().shape[1] == 1340
    assert result.title.startswith("Sequential: ")
    assert net.net.training
    assert [each.requires_grad for each in net.net.parameters()] == [False, True, True, True]
    assert all(each.grad is None for each in net.net.parameters())
    assert not any(module._forward_hooks for module in net.net.modules())
    assert all(torch.equal(before[key], value) for key, value in net.net.state_dict().items())


@pytest.mark.parametrize("name", NAMES)
def test_a_network_of_one_channel_and_one_output_is_asked_as_any(name):
    layers = nn.Conv2d(1, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 1)
    result = run_demo(name, model=wrapped(*layers))
    json.dumps(result.numbers, allow_nan=False)
    assert "nan" not in str(result.numbers)


class Centring(nn.Module):
    """Changes in place what it is given."""

    def forward(self, x):
        return x.sub_(0.25)


@pytest.mark.parametrize("name", NAMES)
def test_a_network_that_changes_its_input_in_place_answers_as_one_that_does_not(name):
    class Careful(Centring):
        def forward(self, x):
            return x - 0.25

    layers = nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)
    rough, careful = (run_demo(name, model=wrapped(first(), *layers)).numbers for first in (Centring, Careful))
    assert str(rough) == str(careful)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("receptive-field", "the gradient of 1"),
        ("checkerboard", "the gradient"),
        ("pooling-invariance", "the output"),
    ],
)
def test_weights_that_are_not_finite_are_named_as_the_cause(name, what):
    net = wrapped(nn.Conv2d(3, 4, 3), nn.Sigmoid())
    net.net[0].weight.data[0] = torch.nan
    with pytest.raises(ModelError, match=rf"^{what} is not finite \(NaN or infinity\): look at the network's weights"):
        run_demo(name, model=net)


@pytest.mark.parametrize("name", NAMES)
def test_a_network_that_does_not_run_on_photos_says_so(name):
    """In one line: what it was given, and its own reason."""
    with pytest.raises(
        ModelError, match=r"^Sequential cannot run on an input of the shape \(1, 3, 64, 64\): .*mat1 and"
    ):
        run_demo(name, model=wrapped(nn.Flatten(), nn.Linear(7, 3), nn.ReLU()))


class TestCheckerboard:
    def test_phase_sums_of_known_weights(self):
        row = torch.tensor([0.25, 0.75, 0.75, 0.25])
        smooth, rough = (nn.ConvTranspose2d(2, 2, 4, stride=2, padding=1) for _ in range(2))
        shuffled = nn.Conv2d(2, 8, 3, padding=1)
        with torch.no_grad():
            smooth.weight.copy_(torch.outer(row, row).expand(2, 2, 4, 4))
            shuffled.weight.copy_(torch.randn(2, 2, 3, 3).repeat_interleave(4, 0))
        net = nn.Sequential(smooth, rough, shuffled, nn.PixelShuffle(2))
        layers = upsampling_layers(net)
        assert list(layers) == ["0", "1", "3"]
        assert uneven(layers["0"][1]) < 1e-12
        assert uneven(layers["1"][1]) > 0.1
        assert uneven(layers["3"][1]) < 1e-12

    def test_what_a_constant_becomes_through_a_shuffle(self):
        conv = nn.Conv2d(3, 8, 3, bias=False)
        (_, sums) = upsampling_layers(nn.Sequential(conv, nn.PixelShuffle(2)))["1"]
        out = nn.functional.pixel_shuffle(conv(torch.ones(1, 3, 5, 5)), 2)[0]
        assert torch.allclose(out[:, :2, :2], sums.sum(0), atol=1e-5)

    def test_a_stride_shows_backward(self):
        strided = wrapped(nn.Conv2d(3, 16, 1, stride=2))
        found = run_demo("checkerboard", model=strided).numbers["backward"]
        assert found["power_of_phases"][0][0] == pytest.approx(4)
        assert found["periods"]["2"]["grid"] == pytest.approx(1, abs=1e-5)
        assert found["strided"] == {"0": 2}
        plain = wrapped(nn.Conv2d(3, 16, 1), nn.Tanh())
        assert run_demo("checkerboard", model=plain).numbers["backward"]["periods"]["2"]["over_chance"] < 20


def test_counting_by_hand():
    numbers = run_demo("counting", model=wrapped(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 62 * 62, 5))).numbers
    conv, dense = numbers["layers"]
    assert (conv["parameters"], conv["macs"]) == (4 * 28, 4 * 27 * 62 * 62)
    assert conv["connections"] == 4 * 28 * 62 * 62
    assert conv["uses_of_a_weight"] == 62 * 62
    assert dense["uses_of_a_weight"] == 1


def test_the_parameters_of_all_stages_add_up_to_the_networks():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AvgPool2d(62), nn.Flatten(), nn.Linear(4, 5))
    result = run_demo("counting", model=wrapped(net))
    numbers = result.numbers
    assert numbers["parameters_elsewhere"] == 4 + 4
    assert sum(stage["parameters"] for stage in numbers["stages"].values()) + 8 == numbers["parameters"] == 4 * 28 + 33
    bars = next(panel for band in result.story.bands for panel in band.panels if panel.name == "Parameters")
    assert [(row.label, row.value) for row in bars.rows] == [("62 × 62", 112.0), ("dense", 25.0), ("elsewhere", 8.0)]
    assert not bars.log, "a bar in the room of the longest is read as its share"


def test_counting_where_weights_are_made_anew():
    normed = wrapped(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)))
    numbers = run_demo("counting", model=normed).numbers
    assert numbers["parameters"] == 4 * 27 + 4 + 4
    assert [layer["macs"] for layer in numbers["layers"]] == [4 * 27 * 62 * 62]


def test_counting_where_layers_are_shared_and_weights_are_tied():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.shared = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3)
            self.first, self.second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
            self.second.weight = self.first.weight
            self.again = nn.ModuleList([self.shared])

        def forward(self, x):
            return self.second(self.first(self.shared(self.shared(self.stem(x))).mean((2, 3))))

    numbers = run_demo("counting", model=wrapped(Twice())).numbers
    assert numbers["parameters"] == 4 * 4 + 4 * 37 + 16
    assert len(numbers["layers"]) == 4
    shared = next(layer for layer in numbers["layers"] if layer["type"] == "Conv2d" and layer["parameters"] == 4 * 37)
    places = 62 * 62 + 60 * 60
    assert shared["macs"] == 4 * 36 * places
    assert shared["connections"] == 4 * 37 * places
    assert shared["uses_of_a_weight"] == places
    assert (numbers["parameters_counted_again"], numbers["parameters_elsewhere"]) == (16, 0)


class TestActivations:
    def test_dead_channels_are_counted(self):
        conv = nn.Conv2d(3, 4, 1)
        with torch.no_grad():
            conv.bias.copy_(torch.tensor([100.0, -100, 100, -100]))
        numbers = run_demo("activations", model=wrapped(conv, nn.ReLU())).numbers
        assert numbers["layers"]["1"] == {"type": "ReLU", "channels": 4, "dead": 2, "flat": 0.5, "at_the_top": 0.0}

    def test_the_ends_of_a_sigmoid_are_where_its_slope_is_a_twentieth(self):
        low, high = _flat(nn.Sigmoid())
        assert low * (1 - low) == pytest.approx(0.25 / 20, rel=0.01)
        assert high == 1 - low
        low, high = _flat(nn.Tanh())
        assert 1 - high**2 == pytest.approx(1 / 20, rel=0.01)

    def test_several_photos_are_one_answer(self):
        dark, light = (np.full((64, 64, 3), value, np.uint8) for value in (0, 255))
        conv = nn.Conv2d(3, 1, 1, bias=False)
        with torch.no_grad():
            conv.weight.fill_(1)
        model = wrapped(conv, nn.ReLU())
        assert run_demo("activations", dark, model=model).numbers["dead"] == 1
        assert run_demo("activations", [dark, light], model=model).numbers["dead"] == 0

    def test_a_network_without_any(self):
        with pytest.raises(DemoError, match=r"^Sequential has no ReLU, sigmoid or tanh among its layers"):
            run_demo("activations", model=wrapped(nn.Conv2d(3, 1, 1)))


def test_receptive_fields_are_the_theory_and_less():
    convs = [nn.Conv2d(3 if at == 0 else 4, 4, 3, padding=1) for at in range(6)]
    found = run_demo("receptive-field", model=wrapped(*convs)).numbers["layers"]
    assert found["5"]["theory"] == 13
    assert 3 <= found["5"]["holds_90_percent"] < 13
    energy = torch.zeros(9, 9)
    energy[3:6, 3:6] = 1
    assert central_energy(energy, 0.9) == 3


def test_the_field_of_a_network_of_one_channel_is_that_of_one_of_three():
    convs = [nn.Conv2d(1 if at == 0 else 4, 4, 3, padding=1) for at in range(6)]
    found = run_demo("receptive-field", model=wrapped(*convs)).numbers["layers"]["5"]
    assert found["theory"] == 13
    assert 3 <= found["holds_90_percent"] < 13


def test_a_network_of_one_channel_gets_the_luma():
    class First(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 1)

        def forward(self, x):
            given.append(x)
            return self.conv(x).flatten(1)

    given = []
    green = np.zeros((64, 64, 3), np.uint8)
    green[..., 1] = 255
    model = wrapped(First())
    run_demo("pooling-invariance", green, model=model)
    assert torch.allclose(given[0], model.preprocess(green), atol=0.02)


def test_a_mean_of_all_pixels_does_not_care_how_the_photo_stands():
    square = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    model = wrapped(nn.Conv2d(3, 8, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    numbers = run_demo("pooling-invariance", square, model=model).numbers
    assert numbers["change_by_shift"][0] == 0
    assert all(stays == 1 for stays in numbers["first_class_stays"])
    assert max(numbers["change_by_angle"]) < 0.1


def test_a_demo_without_a_question_to_networks_says_so_before_it_loads_one():
    result = CliRunner().invoke(main, ["demo", "sobel", "-m", "there/is/none.py:build"])
    assert result.exit_code == 2
    assert result.output.startswith("Error: sobel has no question to a network; these have: receptive-field, ")


def test_from_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("nets.py").write_text(
        "from torch import nn\ndef build():\n    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU())\n"
    )
    arguments = ["demo", "counting", "-m", "nets.py:build", "--size", "40", "-o", "c.png"]
    result = CliRunner().invoke(main, arguments)
    assert (result.exit_code, result.output) == (0, "c.png\n")
    every = CliRunner().invoke(main, ["demo", "--all", "-m", "nets.py:build", "--size", "40", "-o", "all"])
    assert every.output.splitlines() == [f"all/{name}.png" for name in network_demos()]
    wrong = CliRunner().invoke(main, [*arguments[:5], "4x4x4"])
    assert wrong.exit_code == 2
    assert "'4x4x4' is not a side N, nor a height and a width H,W" in wrong.output
