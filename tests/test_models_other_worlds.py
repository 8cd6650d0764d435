"""Networks of other worlds: BGR, 0 to 255, other ways to fill the input; and what a factory knows of its own."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import nn

import viztool
from viztool.cli import main
from viztool.errors import ModelError, SettingError
from viztool.images import write_image
from viztool.kernels.tiles import weights_tile
from viztool.models.subject import looks_at
from viztool.render.kernel_sheet import draw_color_kernel

PHOTO = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
CAFFE = (103.939, 116.779, 123.68)


def small(channels=3, outputs=3):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, outputs)
    )


class TestInput:
    def test_caffes_input_by_hand(self):
        model = viztool.wrap_model(small(), 32, CAFFE, 1, channel_order="bgr", value_range=255)
        pixels = model.view(PHOTO).astype(np.float64)[..., ::-1] - CAFFE
        np.testing.assert_allclose(model.preprocess(PHOTO)[0].permute(1, 2, 0), pixels, atol=1e-4)
        assert (model.mean, model.std) == (CAFFE, (1.0, 1.0, 1.0))
        assert model.preprocessing == ("resize 32 bilinear, crop 32, BGR, 0 to 255, mean 103.9 116.8 123.7, std 1")

    def test_normalize_is_what_preprocess_does_to_the_view_and_has_its_slope(self):
        model = viztool.wrap_model(small(), 32, CAFFE, (1, 2, 4), channel_order="bgr", value_range=255)
        x = (torch.tensor(model.view(PHOTO)).permute(2, 0, 1)[None].float() / 255).requires_grad_()
        normalized = model.normalize(x)
        torch.testing.assert_close(normalized.detach(), model.preprocess(PHOTO), atol=1e-4, rtol=1e-5)
        (slope,) = torch.autograd.grad(normalized.sum(), x)
        assert torch.equal(slope[0].mean((1, 2)), torch.tensor([255 / 4, 255 / 2, 255.0]))

    def test_the_same_network_in_another_order_and_on_another_scale_says_the_same(self):
        net = small()
        usual = viztool.wrap_model(net, 32, output="scores")
        swapped = small()
        with torch.no_grad():
            swapped[0].weight.copy_(net[0].weight.flip(1))
        for given in ({}, {"value_range": 255}):
            # Without a mean and a std, ImageNet's are assumed, in that order and on that scale.
            other = viztool.wrap_model(swapped, 32, output="scores", channel_order="bgr", **given)
            torch.testing.assert_close(other.preprocess(PHOTO).flip(1), usual.preprocess(PHOTO))
            assert "assumed" in other.preprocessing
            same = viztool.visualize_kernels(other, targets=[1], steps=2, size=32).kernels[0].optimum
            expected = viztool.visualize_kernels(usual, targets=[1], steps=2, size=32).kernels[0].optimum
            np.testing.assert_allclose(same.pixels.astype(int), expected.pixels.astype(int), atol=1)

    def test_black_is_black(self):
        model = viztool.wrap_model(small(), 32, CAFFE, 1, channel_order="bgr", value_range=255, output="scores")
        black = np.zeros_like(PHOTO)
        found = viztool.attribute(model, PHOTO, "occlusion", 1, baseline="black", window=40, stride=40)
        with torch.no_grad():
            drop = model.net(model.preprocess(PHOTO))[0, 1] - model.net(model.preprocess(black))[0, 1]
        assert float(found.raw[0].max() if drop > 0 else found.raw[0].min()) == pytest.approx(float(drop), rel=1e-3)

    def test_a_tensor_is_shown_in_its_own_colours(self):
        model = viztool.wrap_model(small(), 32, 0.5, 0.25, channel_order="bgr")
        red = np.zeros_like(PHOTO)
        red[..., 0] = 255
        [(_, [subject])], _ = looks_at(model, model.preprocess(red), "tensor")
        assert (subject.view == (255, 0, 0)).all()

    def test_a_kernel_is_drawn_on_the_colours_that_it_sees(self):
        usual, swapped = small(), small()
        with torch.no_grad():
            swapped[0].weight.copy_(usual[0].weight.flip(1))
        drawn = []
        for net, order in ((usual, "rgb"), (swapped, "bgr")):
            model = viztool.wrap_model(net, 32, 0.5, 0.25, channel_order=order)
            found = viztool.visualize_kernels(model, "0", channels=[1], steps=1, size=32).kernels[0].weights
            np.testing.assert_array_equal(found.values, net[0].weight[1].detach().numpy())
            drawn.append(found.on_colors)
            assert np.array_equal(
                weights_tile(found, None).picture, draw_color_kernel(usual[0].weight[1].detach().numpy())
            )
        np.testing.assert_array_equal(*drawn)

    @pytest.mark.parametrize(
        ("resize", "expected", "words"),
        [
            ("cover", Image.fromarray(PHOTO).resize((48, 32), 2).crop((8, 0, 40, 32)), "resize 32 bilinear, crop 32"),
            ("squash", Image.fromarray(PHOTO).resize((32, 32), 2), "resize to 32 × 32 bilinear, crop 32"),
            ("inside", Image.fromarray(PHOTO).resize((32, 21), 2), "resize into 32 × 32 bilinear, crop 32"),
        ],
    )
    def test_how_a_photo_fills_the_input(self, resize, expected, words):
        model = viztool.wrap_model(small(), 32, 0.5, 0.25, resize=resize)
        view, expected = model.view(PHOTO), np.asarray(expected)
        inside = view[5:26] if resize == "inside" else view
        np.testing.assert_array_equal(inside, expected)
        assert view.sum() == expected.astype(int).sum()
        assert model.preprocessing == f"{words}, mean 0.5, std 0.25"

    @pytest.mark.parametrize(
        ("settings", "kind", "message"),
        [
            ({"channel_order": "gbr"}, SettingError, "channel_order must be rgb or bgr, got 'gbr'"),
            ({"value_range": 100}, SettingError, "value_range must be 1 or 255, what white is to the network, got 100"),
            ({"resize": "crop"}, SettingError, "resize must be cover, squash, inside, got 'crop'"),
        ],
    )
    def test_what_cannot_be(self, settings, kind, message):
        with pytest.raises(kind) as error:
            viztool.wrap_model(small(), 32, **settings)
        assert str(error.value) == message

    def test_grey_has_no_order(self):
        with pytest.raises(ModelError, match=r"^the network takes 1 channels, and bgr is an order of 3$"):
            viztool.wrap_model(small(1), 32, channel_order="bgr")


SOURCE = """
import torch
from torch import nn

import viztool


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))


def model():
    return viztool.wrap_model(
        net(), (20, 24), 0.5, 0.25, ["cat", "dog"], output="sigmoid", channel_order="bgr", resize="squash"
    )


ready = model()


def second_first(output):
    return output.flip(1)


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = net()

    def forward(self, x):
        return {"features": x, "labels": self.net(x)}


def labels(output):
    return output["labels"]
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("nets.py").write_text(SOURCE)
    write_image("photo.png", PHOTO)
    return tmp_path


@pytest.mark.usefixtures("folder")
class TestFactories:
    @pytest.mark.parametrize("name", ["nets.py:model", "nets.py:ready"])
    def test_a_model_keeps_all_that_it_knows(self, name):
        model = viztool.load_model(name)
        assert (model.name, model.size, model.classes, model.output) == (name, (20, 24), ("cat", "dog"), "sigmoid")
        assert (model.input.channel_order, model.input.fit) == ("bgr", "squash")
        assert model.weights == f"as {name} made them"
        with torch.no_grad():
            expected = model.net(model.preprocess(PHOTO))[0].sigmoid()
        assert dict(model.predict(PHOTO)) == pytest.approx(dict(zip(["cat", "dog"], expected.tolist(), strict=True)))

    def test_what_is_said_goes_before_what_it_knows(self):
        model = viztool.load_model(
            "nets.py:model", size=32, mean=0.25, classes=["a", "b"], output="softmax", channel_order="rgb", weights=None
        )
        assert (model.size, model.mean, model.classes, model.output) == ((32, 32), (0.25,) * 3, ("a", "b"), "softmax")
        assert (model.std, model.input.channel_order, model.input.fit) == ((0.25,) * 3, "rgb", "squash")

    def test_weights_go_into_the_network_of_a_model(self):
        net = viztool.load_model("nets.py:net").net
        nn.init.constant_(net[-1].bias, 7.0)
        torch.save(net.state_dict(), "run.pth")
        model = viztool.load_model("nets.py:model", weights="run.pth")
        assert (model.weights, model.output) == ("run.pth", "sigmoid")
        assert model.net[-1].bias.tolist() == [7.0, 7.0]


@pytest.mark.usefixtures("folder")
class TestCommandLine:
    @staticmethod
    def run(*arguments):
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    def features(self, *arguments):
        done = self.run("features", "photo.png", "-l", "type:Conv2d", "--json", "--force", "--size", 32, *arguments)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)["results"][0]

    def test_how_the_output_is_read(self):
        Path("names.txt").write_text("cat\ndog\n")
        given = ("--mean", 0.5, "--std", 0.25, "--classes", "names.txt")
        for spec, how, said in (
            ("nets.py:net", "sigmoid", "sigmoid"),
            ("nets.py:net", "scores", "scores"),
            ("nets.py:net", "nets.py:second_first", lambda output: output.flip(1)),
            ("nets.py:Pair", "nets.py:labels", lambda output: output["labels"]),
        ):
            model = viztool.load_model(spec, size=32, mean=0.5, std=0.25, classes="names.txt", output=said)
            torch.manual_seed(0)
            found = self.features("-m", spec, "--output-is", how, *given)
            unit = "score" if how == "scores" else "probability"
            rows = [(row["class"], pytest.approx(row[unit])) for row in found["predictions"]]
            assert model.predict(PHOTO) == rows

    def test_none(self):
        found = self.features("-m", "nets.py:net", "--output-is", "none")
        assert found["predictions"] == []
        assert found["verdict"] == 'No prediction: the network\'s output is not read as classes (output="none").'
        done = self.run("cam", "photo.png", "-m", "nets.py:net", "--output-is", "none", "-l", "0")
        assert done.exit_code == 1
        assert "give a target that makes a score of it, a callable" in done.output

    def test_how_a_photo_goes_in(self):
        options = ("--channel-order", "bgr", "--value-range", 255, "--resize", "squash")
        found = self.features("-m", "nets.py:net", "--mean", "103.939,116.779,123.68", "--std", 1, *options)
        assert found["preprocessing"] == (
            "resize to 32 × 32 bilinear, crop 32, BGR, 0 to 255, mean 103.9 116.8 123.7, std 1"
        )

    def test_what_cannot_be(self):
        done = self.run("features", "photo.png", "-m", "nets.py:net", "--output-is", "percent")
        assert done.exit_code == 2
        assert "output must be softmax, sigmoid, binary, scores, none, or a callable" in done.output
        done = self.run("features", "photo.png", "-m", "nets.py:net", "--output-is", "nets.py:label")
        assert "nets.py has no 'label'; it has labels" in done.output

    def test_every_command_that_takes_a_network_takes_it(self):
        for name, command in main.commands.items():
            named = {option for parameter in command.params for option in parameter.opts}
            if "--model" in named:
                assert {"--output-is", "--channel-order", "--value-range", "--resize"} <= named, name
