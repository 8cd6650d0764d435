"""`viztool attribute`: the map of one method, or a comparison, for each photo."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from test_circuits_sheet import words

import viztool
from viztool.cli import main
from viztool.errors import SettingError
from viztool.heatmaps.comparison import Comparison


def attribute(*arguments):
    return CliRunner().invoke(main, ["attribute", "photo.png", "-m", "nets.py:build", "--size", "32", *arguments])


def test_the_map_is_that_of_python(desk):
    result = attribute("--target", "2", "--set", "steps=20", "--baseline", "black", "--json", "--npz")
    assert result.exit_code == 0, result.output
    numbers = json.loads(result.stdout)["results"][0]
    model, photo = viztool.load_model("nets.py:build", size=32), viztool.read_image("photo.png")
    expected = viztool.attribute(model, photo, target=2, steps=20, baseline="black", source="photo.png")
    assert numbers["details"] == json.loads(json.dumps(expected.numbers["details"]))
    with np.load("photo_attribute.npz") as saved:
        assert np.array_equal(saved["raw"], expected.raw.numpy())
    assert Path("photo_attribute.png").is_file()
    (check,) = numbers["images"][0]["checks"]
    told = expected.details["completeness"]
    shown = [f"{told[part][0]:.3g}".replace("-", "−") for part in ("sum", "whole")]
    assert check == f"sum {shown[0]} of {shown[1]} = f(x) − f(baseline)"


def test_all_methods_take_the_options_that_they_have(desk):
    result = attribute("--method", "all", "--json", "--set", "samples=5", "--set", "window=8")
    assert result.exit_code == 0, result.output
    heatmaps = json.loads(result.stdout)["results"][0]["heatmaps"]
    assert tuple(each["method"] for each in heatmaps) == viztool.attribution.METHODS
    details = {each["method"]: each["details"] for each in heatmaps}
    assert details["smoothgrad"]["samples"] == details["rise"]["samples"] == 5
    assert details["occlusion"]["window"] == 8
    assert "samples" not in details["gradient"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--method", "gradients"), "no attribution is called 'gradients'; nearest: gradient"),
        (("--set", "steps"), "'steps' is not of the form NAME=VALUE, such as steps=200"),
        (("--set", "samples=5"), "integrated_gradients has no option 'samples'; it has steps"),
        (
            ("--method", "gradient", "--method", "rise", "--set", "steps=5"),
            "none of these methods has an option 'steps'; they have grid, probability, samples",
        ),
        (("--set", "steps=many"), "steps is 'many'; give a whole number"),
        (("--target", "9"), "class 9 is not one of the network's 4 classes, 0 to 3"),
        (
            ("--through", "1:2"),
            "integrated_gradients cannot be sent through one unit; these can: lrp_",
        ),
        (("--method", "lrp_zplus", "--through", "1"), "'1' is not LAYER:CHANNEL, such as blocks.4:15"),
        (("--method", "lrp_zplus", "--through", "1:6"), "layer '1' has 6 channels, 0 to 5, and no 6"),
        (("--method", "lrp_zplus", "--through", "conv:1"), "no layer matches 'conv'; "),
        (("--method", "lrp_zplus", "--through", "1:2", "--method", "rise"), "rise cannot be sent through one unit; "),
        (("--seed", "-1"), "-1 is not in the range 0<=x<=4294967293"),
    ],
)
def test_wrong_usage_is_one_line(desk, arguments, message):
    result = attribute(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr.splitlines()[-1]
    assert not Path("photo_attribute.png").exists()


def test_relevance_through_one_unit(desk):
    result = attribute("--method", "lrp_zplus", "--target", "2", "--through", "1:4", "--json", "--npz")
    assert result.exit_code == 0, result.output
    numbers = json.loads(result.stdout)["results"][0]
    assert numbers["files"] == ["photo_attribute_lrp_zplus_1_4.png", "photo_attribute_lrp_zplus_1_4.npz"]
    assert numbers["details"]["through"] == {"layer": "1", "channels": [4]}
    model, photo = viztool.load_model("nets.py:build", size=32), viztool.read_image("photo.png")
    expected = viztool.attribute(model, photo, "lrp_zplus", 2, through=("1", 4))
    with np.load("photo_attribute_lrp_zplus_1_4.npz") as saved:
        assert np.array_equal(saved["raw"], expected.raw.numpy())
    whole = viztool.attribute(model, photo, "lrp_zplus", 2, through=("1", list(range(6))))
    assert np.allclose(whole.raw[4], expected.raw[0], atol=1e-6)
    assert float(expected.raw.abs().sum()) > 0
    assert "lrp_zplus through 1/4 of class 2" in words(expected.drawing())
    assert "lrp_zplus through 1/4 · class 2" in words(Comparison([expected, expected]).drawing())
    each = viztool.attribute(model, photo, "lrp_zplus", 2, through=("1", [0, 4]))
    assert [each.way(at) for at in range(2)] == [" through 1/0", " through 1/4"]


@pytest.mark.parametrize("seed", [-1, 1.5, "a", True, 2**32])
def test_a_seed_is_a_whole_number(desk, seed):
    model, photo = viztool.load_model("nets.py:build", size=32), viztool.read_image("photo.png")
    with pytest.raises(SettingError) as caught:
        viztool.attribute(model, photo, "smoothgrad", seed=seed)
    assert str(caught.value) == f"seed is {seed!r}; give a whole number from 0 to 4294967293"
