"""`viztool cam`: one heatmap, or a comparison, for each photo."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import viztool
from viztool.cli import main


def cam(*arguments):
    return CliRunner().invoke(main, ["cam", "photo.png", "-m", "nets.py:build", "--size", "32", *arguments])


def test_one_method_and_target_give_one_heatmap(desk):
    result = cam("--target", "2", "--json", "--npz")
    assert result.exit_code == 0, result.output
    numbers = json.loads(result.stdout)["results"][0]
    assert (numbers["method"], numbers["images"][0]["class"]) == ("gradcam", 2)
    with np.load("photo_cam.npz") as saved:
        assert saved["raw"].max() == pytest.approx(numbers["images"][0]["max"])
        assert np.abs(saved["signed_map"]).max() in (0.0, 1.0)
        assert saved["map"].min() >= 0
        assert saved["map"].max() in (0.0, 1.0)
    assert viztool.read_image("photo_cam.png").shape[1] == 1340


def test_methods_and_targets_are_compared(desk):
    result = cam("--method", "gradcam", "--method", "hirescam", "--target", "0", "--target", "1", "--json")
    heatmaps = json.loads(result.stdout)["results"][0]["heatmaps"]
    assert [(each["method"], each["images"][0]["class"]) for each in heatmaps] == [
        ("gradcam", 0),
        ("gradcam", 1),
        ("hirescam", 0),
        ("hirescam", 1),
    ]


def test_all_methods(desk):
    result = cam("--method", "all", "--json", "-l", "1")
    numbers = json.loads(result.stdout)["results"][0]
    drawn = {each["method"] for each in numbers["heatmaps"]}
    assert drawn | set(numbers["failed"]) == set(viztool.cam.METHODS) - {"sscam", "iscam"}
    assert set(numbers["failed"]) <= {"fullgrad"}, "which takes no layer"


def test_errors_are_one_line(desk):
    for arguments, code, words in (
        (("--method", "gradcan"), 2, "gradcam"),
        (("--target", "9"), 2, "0 to 3"),
        (("-l", "conv"), 2, "no layer matches"),
        (("-l", "4"), 1, "no maps"),
    ):
        result = cam(*arguments)
        assert result.exit_code == code
        assert result.stderr.count("\n") == 1
        assert words in result.stderr
    assert not Path("photo_cam.png").exists()


def test_check_adds_what_says_whether_to_believe_it(desk):
    result = cam("--check", "--json", "-l", "1")
    assert result.exit_code == 0, result.output
    numbers = json.loads(result.stdout)["results"][0]
    model = viztool.load_model("nets.py:build", size=32)
    photo = viztool.read_image("photo.png")
    heatmap = viztool.class_activation_map(model, photo, target=numbers["images"][0]["class"], layer="1")
    assert numbers["images"][0]["checks"] == viztool.evaluate_heatmap(model, photo, heatmap).lines()


def test_a_box_says_how_much_of_the_map_lies_in_it(desk):
    result = cam("--box", "0,0,25,40", "--json", "-l", "1", "--target", "1")
    assert result.exit_code == 0, result.output
    model, photo = viztool.load_model("nets.py:build", size=32), viztool.read_image("photo.png")
    heatmap = viztool.class_activation_map(model, photo, target=1, layer="1")
    energy = float(viztool.faithfulness.energy_in_box(heatmap, [(0, 0, 25, 40)]).value[0])
    at = divmod(int(heatmap.map[0].argmax()), 32)
    place = "inside" if at[1] < 16 else "outside"
    checks = json.loads(result.stdout)["results"][0]["images"][0]["checks"]
    assert checks == [f"{100 * energy:.0f} % in the box (50 % of the area)", f"peak {place} the box"]


@pytest.mark.parametrize(("what", "kind"), [("weights", "weights"), ("classes", "labels")])
def test_randomize_draws_the_strip(desk, what, kind, monkeypatch):
    monkeypatch.setattr(
        "viztool.faithfulness.randomize_labels", partial(viztool.faithfulness.randomize_labels, count=2)
    )
    result = cam("--randomize", what, "--json", "-l", "1", "--target", "2")
    assert result.exit_code == 0, result.output
    numbers = json.loads(result.stdout)["results"][0]
    assert (numbers["check"], numbers["images"][0]["target"]) == (f"{kind} randomised", "class 2")
    assert numbers["images"][0]["spearman"][0] == pytest.approx(1)
    assert min(numbers["images"][0]["spearman"]) < 0.99


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--box", "1,2,3"), "'1,2,3' is not LEFT,TOP,RIGHT,BOTTOM: four numbers with commas between them"),
        (
            ("--randomize", "weights", "--check"),
            "--randomize is of one method and one target, without --check and --box",
        ),
    ],
)
def test_wrong_usage_is_said(desk, arguments, message):
    result = cam(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_strip_is_of_one_layer_even_if_the_randomised_network_has_nothing_there(desk):
    """At 64 px the default layer of the embedded network is 2 × 2, and with random weights sometimes all zero."""
    photo = Path(__file__).parents[1] / "gallery/inputs/coffee.jpg"
    result = CliRunner().invoke(main, ["cam", str(photo), "--size", "64", "--randomize", "weights", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["results"][0]["images"][0]["spearman"][0] == pytest.approx(1)
