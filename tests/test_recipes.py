"""The recipes of the gallery run, are short, and what each of them shows is so."""

import runpy
import sys
from pathlib import Path

import pytest
from PIL import Image

RECIPES = Path(__file__).parents[1] / "gallery" / "recipes"

SHOWN = {
    "loss_on_activations": lambda found: found["left"]["blocks.0"] < 0.05 and found["left"]["blocks.2"] < 0.5,
    "linear_probe": lambda found: max(found["accuracy"].values()) > 0.7,
    "unet_skips": lambda found: (
        2 * found["error"]["cleaned"] < min(found["error"][f"cleaned without skip {at}"] for at in (0, 1))
    ),
    "gan_generator": lambda found: found["loss"].item() < 0.01,
    "detector_backbone": lambda found: [maps.shape[2] for maps in found["scales"].values()] == [20, 10, 5, 3, 2, 1],
    "video": lambda found: found["follows"] > 0.95,
    "several_inputs": lambda found: found["left"]["espresso"] > 0.7 > 0.3 > found["left"]["Egyptian cat"],
    "two_checkpoints": lambda found: (
        found["alike"]["blocks.3"] == pytest.approx(1, abs=1e-4) and found["alike"]["blocks.6"] < 0.9
    ),
    "folder_to_npz": lambda found: set(found["shapes"].values()) == {(112, 14, 14)} and len(found["shapes"]) == 6,
    "training_health": lambda found: all(
        (kind, layer) in found["found"][kind]
        for kind, layer in {
            "dead-units": "3",
            "not-finite": "2",
            "update-too-large": "4",
            "never-updated": "4",
            "input-not-normalised": "0",
        }.items()
    ),
    "similarity_heatmap": lambda found: found["left"]["coffee"] > 0.7 > 0.3 > found["left"]["cat"],
}
"""Of each recipe, what its picture claims."""


@pytest.mark.parametrize("name", SHOWN)
def test_it_shows_what_it_says(name, tmp_path, monkeypatch):
    script, picture = RECIPES / f"{name}.py", tmp_path / "picture.png"
    monkeypatch.setattr(sys, "argv", [str(script), str(picture)])
    monkeypatch.syspath_prepend(RECIPES)
    assert SHOWN[name](runpy.run_path(str(script), run_name="__main__"))
    with Image.open(picture) as drawn, Image.open(script.with_suffix(".png")) as committed:
        assert drawn.size == committed.size


def test_there_is_a_test_and_a_picture_of_each_and_none_is_long():
    scripts = {path.stem: path for path in RECIPES.glob("[!_]*.py")}
    assert set(scripts) == set(SHOWN) == {path.stem for path in RECIPES.glob("*.png")}
    page = (RECIPES / "README.md").read_text()
    for name, path in scripts.items():
        assert len(path.read_text().splitlines()) <= 40
        assert f"[{name}.py]({name}.py)" in page
        assert f"({name}.png)" in page
