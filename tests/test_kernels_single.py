"""Single units, directions, and what lies above a ceiling."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from kernel_nets import shared, wrapped
from torch import Tensor, nn
from torch.nn import functional as F

import viztool
from viztool.errors import LayerError, ViztoolError
from viztool.kernels import visualize_kernels
from viztool.kernels.loop import maximize
from viztool.kernels.network import Stopped
from viztool.kernels.objectives import channel
from viztool.kernels.parameterizations import Pixels
from viztool.kernels.presets import field_of, for_channels, for_classes, preset_of
from viztool.kernels.transforms import Transforms
from viztool.kernels.units import read_directions
from viztool.models.model import wrap_model


def first(act: nn.Module, channels: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(channels, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6), act, nn.Conv2d(6, 6, 3))


class TestOneLinearFilter:
    @pytest.mark.parametrize(
        "act", [nn.ReLU(), nn.ReLU6(inplace=True), nn.Identity()], ids=lambda act: type(act).__name__
    )
    @pytest.mark.parametrize("channels", [1, 3])
    def test_is_drawn_as_itself_in_the_colours_of_a_picture(self, act: nn.Module, channels: int) -> None:
        net = first(act, channels).eval()
        std = (0.2, 0.4, 0.8)[:channels]
        sheet = visualize_kernels(wrap_model(net, size=32, mean=(0.5,) * channels, std=std), "2", [0, 5], steps=2)
        weights = net[0].weight.detach() / torch.tensor(std)[:, None, None]
        for kernel in sheet.kernels:
            wanted = weights[kernel.unit] / weights[kernel.unit].abs().max()
            assert kernel.optimum.is_kernel
            assert kernel.negative is not None
            for drawn, sign in ((kernel.optimum, 1), (kernel.negative, -1)):
                cells = drawn.pixels[::43, ::43].astype(float) / 127.5 - 1
                np.testing.assert_allclose(cells[..., :channels], sign * wanted.permute(1, 2, 0), atol=0.01)
        assert sheet.notes == (
            "A unit of this layer is one linear filter of the 3 × 3 pixels that it sees: of pictures as strong, none "
            "excites it more than that filter. It is drawn as a picture, grey where a weight is 0.",
        )
        columns = sheet._card(sheet.kernels[0]).columns
        assert columns == ["optimum: the kernel itself", "negative optimum: its opposite"]

    def test_its_activation_is_the_networks_own(self) -> None:
        net = first(nn.ReLU()).eval()
        with torch.no_grad():
            net[0].bias += 1
        model = wrap_model(net, size=32, mean=0.5, std=1.0)
        (kernel,) = visualize_kernels(model, "2", [3], steps=2).kernels
        picture = torch.full((1, 3, 32, 32), 0.5)
        # The middle of 16 places with a stride of 2 sees rows 15 to 17.
        picture[..., 15:18, 15:18] = torch.from_numpy(kernel.optimum.pixels[::43, ::43]).permute(2, 0, 1) / 255
        with torch.no_grad():
            own = net[:3](model.normalize(picture))[0, 3, 8, 8].item()
        assert kernel.optimum.numbers["activation"] == pytest.approx(own, abs=0.01)
        assert kernel.optimum.numbers["robustness"] is None

    def test_more_than_one_filter_is_climbed(self) -> None:
        sheet = visualize_kernels(shared(), "second", [1], steps=8)
        assert not sheet.kernels[0].optimum.is_kernel
        assert sheet.settings["window"] == [5, 5]
        assert sheet.kernels[0].optimum.pixels.shape == (130, 130, 3)
        assert sheet.notes[0].endswith(
            "of one unit of each channel, in the middle of its map, the 5 × 5 pixels that it sees."
        )
        assert visualize_kernels(shared(), "second", [1], steps=2, size=24).settings["window"] is None


class InPlace(nn.Module):
    def __init__(self, act: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        return self.act(10 * self.conv(x))


class TestCeilings:
    @pytest.mark.parametrize(
        "act",
        [nn.ReLU6(), nn.ReLU6(inplace=True), F.relu6, lambda x: F.relu6(x, True), nn.Hardtanh(-1, 2, inplace=True)],
    )
    def test_below_one_is_what_it_was_given_and_nothing_else_changes(self, act: Callable[[Tensor], Tensor]) -> None:
        net = InPlace(act)
        network = Stopped(wrapped(nn.Sequential(net)), ["0"], (12, 12))
        x = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            given = 10 * net.conv(x - 0.5)
            torch.testing.assert_close(network(x, below=True)["0"], given)
            torch.testing.assert_close(network(x)["0"], act(given.clone()))

    def test_above_a_ceiling_the_ascent_goes_on(self) -> None:
        torch.manual_seed(0)
        conv = nn.Conv2d(3, 2, 3)
        with torch.no_grad():
            conv.bias += 6
        model = wrapped(nn.Sequential(conv, nn.ReLU6()))
        how = {"steps": 40, "size": 12, "transforms": Transforms(), "parameterization": Pixels(), "early_stop": False}
        reached = {}
        for redirect in (0, 16):
            found = maximize(model, channel("1", 0), redirect=redirect, **how)
            with torch.no_grad():
                reached[redirect] = conv(found.images - 0.5)[0, 0].mean().item()
                told = F.relu6(conv(found.images - 0.5))[0, 0].mean().item()
            assert found.score.item() == pytest.approx(told, abs=1e-4)  # what is told is behind the ceiling
        assert reached[16] > reached[0] + 0.2


class TestNeuronsAndDirections:
    def test_a_neuron_is_one_place_of_the_map(self) -> None:
        model = shared()
        (kernel,) = visualize_kernels(model, "second", [1], 8, 24, neuron=True).kernels
        x = torch.from_numpy(kernel.optimum.pixels).permute(2, 0, 1)[None] / 255 - 0.5
        with torch.no_grad(), viztool.capture(model.net, "second") as acts:
            model.net(x)
        assert kernel.optimum.numbers["activation"] == pytest.approx(acts["second"][0, 1, 6, 6].item(), abs=5e-3)

    def test_a_direction_along_one_axis_is_that_channel(self) -> None:
        model, axis = shared(), np.eye(6)[2]
        (along,) = visualize_kernels(model, "second", None, 8, 24, directions=axis).kernels
        found = maximize(model, channel("second", 2), steps=8, size=24)
        assert along.optimum.numbers["activation"] == pytest.approx(found.score.item(), rel=0.2)
        doubled = visualize_kernels(model, "second", None, 8, 24, directions=[2 * axis, axis]).kernels
        assert [kernel.label for kernel in doubled] == ["direction 0", "direction 1"]
        own = doubled[1].optimum.pixels
        x = torch.from_numpy(own).permute(2, 0, 1)[None] / 255 - 0.5
        with torch.no_grad(), viztool.capture(model.net, "second") as acts:
            model.net(x)
        mean = acts["second"][0, 2].mean().item()
        assert doubled[1].optimum.numbers["activation"] == pytest.approx(mean, abs=5e-3)

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"directions": [1.0, 2.0]}, "^a direction of 'second' has 6 numbers, one for each channel; this has 2$"),
            ({"directions": np.zeros(6)}, "^a direction has numbers that are finite, and not all of them zero$"),
            (
                {"directions": np.eye(6), "channels": [1]},
                "^directions go without channels, targets, neuron and photos$",
            ),
        ],
    )
    def test_what_is_none(self, wrong: dict[str, object], message: str) -> None:
        with pytest.raises(LayerError, match=message):
            visualize_kernels(shared(), "second", size=24, **wrong)


class TestCommands:
    def test_a_direction_from_a_file(self, tmp_path: Path) -> None:
        vectors = np.arange(12, dtype=np.float32).reshape(2, 6)
        np.save(tmp_path / "a.npy", vectors)
        (tmp_path / "a.csv").write_text("0,1,2,3,4,5\n6, 7, 8, 9, 10, 11\n")
        np.testing.assert_array_equal(read_directions(tmp_path / "a.npy"), vectors)
        np.testing.assert_array_equal(read_directions(tmp_path / "a.csv"), vectors)
        (tmp_path / "b.txt").write_text("up")
        with pytest.raises(ViztoolError, match=r"b\.txt holds no direction; give a \.npy file, or numbers in text"):
            read_directions(tmp_path / "b.txt")


class TestPresets:
    def test_a_fast_ascent_is_for_units_that_see_shapes(self) -> None:
        model = shared()
        fine = preset_of(model, ["second"], (64, 64))
        assert field_of(model, "second") is not None
        assert fine.rate < for_channels((64, 64), None).rate
        assert preset_of(model, [""], (64, 64)).rate == for_classes((64, 64)).rate

    @pytest.mark.parametrize("side", [24, 128, 224])
    def test_a_class_is_looked_at_in_its_own_size(self, side: int) -> None:
        assert for_classes((side, side)).transforms.size((side, side)) == (side, side)
