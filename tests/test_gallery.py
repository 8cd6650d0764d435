"""The gallery tells the same story as the code."""

import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from viztool.cli import main
from viztool.gallery import PIECES, depends
from viztool.gallery.depends import program
from viztool.gallery.readme import readme

GALLERY = Path(__file__).parents[1] / "gallery"


# Demos are drawn, and checked, in tests of their own.
QUICK = [piece for piece in PIECES if not piece.slow and piece.arguments[0] in ("features", "cam", "attribute")]


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory):
    """The quick pieces made anew, from the photos alone."""
    folder = tmp_path_factory.mktemp("clone") / "gallery"
    shutil.copytree(GALLERY, folder, ignore=shutil.ignore_patterns(*(f"{piece.name}.*" for piece in QUICK)))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder.parent)
        patch.setattr("viztool.gallery.stale", lambda folder: QUICK)
        result = CliRunner().invoke(main, ["gallery"])
    assert result.exit_code == 0, result.output
    assert sorted(result.stdout.split()) == sorted(f"gallery/{piece.name}{piece.suffix}" for piece in QUICK)
    return folder


def heatmaps(numbers):
    return numbers.get("heatmaps", [numbers] if "method" in numbers and "images" in numbers else [])


@pytest.mark.parametrize("piece", QUICK, ids=lambda piece: piece.name)
class TestPieces:
    def test_the_committed_numbers_are_the_ones_it_gives_today(self, piece, rebuilt):
        committed, today = piece.read(GALLERY), piece.read(rebuilt)
        assert committed.keys() == today.keys()
        for mine, theirs in zip(committed.get("predictions", ()), today.get("predictions", ()), strict=True):
            assert mine["probability"] == pytest.approx(theirs["probability"], abs=0.01)
        for mine, theirs in zip(committed.get("layers", ()), today.get("layers", ()), strict=True):
            for key in ("name", "type", "shape", "receptive_field"):
                assert mine[key] == theirs[key]
            assert mine["dead"] == pytest.approx(theirs["dead"], abs=3), "a value next to zero may fall on either side"
            best = {channel["index"]: channel["sd"] for channel in mine["channels"]}
            shared = [channel for channel in theirs["channels"] if channel["index"] in best]
            assert len(shared) >= 0.8 * len(best)
            for channel in shared:
                assert channel["sd"] == pytest.approx(best[channel["index"]], rel=0.01)
        for one, two in zip(heatmaps(committed), heatmaps(today), strict=True):
            assert (one["method"], one["layer"]) == (two["method"], two["layer"])
            for mine, theirs in zip(one["images"], two["images"], strict=True):
                assert mine["target"] == theirs["target"]
                for key in ("score", "max", "min"):
                    assert mine.get(key, 0) == pytest.approx(theirs.get(key, 0), rel=0.01, abs=1e-4)
                assert mine.get("spearman", []) == pytest.approx(theirs.get("spearman", []), abs=0.02)

    def test_its_command_makes_it(self, piece, rebuilt):
        numbers = piece.read(rebuilt)
        assert shlex.split(numbers["command"]) == [
            "viztool",
            *(
                argument.format(inputs="gallery/inputs", tiles="gallery/tiles.tar", atlas="gallery/tiles.atlas")
                for argument in piece.arguments
            ),
            *("-o", f"gallery/{piece.name}{piece.suffix}"),
        ]
        with Image.open(piece.picture(rebuilt)) as picture:
            assert picture.width == 1340 or piece.suffix == ".gif"

    def test_it_is_current_until_something_that_it_is_made_of_changes(self, piece, rebuilt, monkeypatch):
        assert piece.is_current(rebuilt)
        assert not replace(piece, arguments=(*piece.arguments, "--seed", "1")).is_current(rebuilt)
        monkeypatch.setattr("viztool.gallery.piece.program", lambda arguments: b"another program")
        assert not piece.is_current(rebuilt)


def test_the_captions_say_what_the_numbers_say():
    """What is claimed in words about a picture, of its committed numbers."""
    pieces = {piece.name: piece.read(GALLERY) for piece in PIECES}

    def inside(name, index):
        lines = pieces[name]["heatmaps"][index]["images"][0]["checks"]
        (line,) = [line for line in lines if "in the box" in line]
        return int(line.split("%")[0])

    _, deletion = pieces["cam_cat"]["images"][0]["checks"]
    assert deletion.startswith("deletion")
    own, chance = re.findall(r"\d\.\d+", deletion)
    assert float(own) >= float(chance), "no better than chance at taking out"
    assert inside("cam_two_classes", 0) > 75
    assert inside("cam_two_classes", 1) < 25
    assert inside("cam_hirescam", 0) < 50, "less than by chance"
    assert inside("cam_hirescam", 1) > 60
    espresso = pieces["concepts_espresso"]
    coffee, rim, bowl, unstable, *_ = espresso["concepts"]
    wood = max(espresso["concepts"], key=lambda concept: concept["share"])
    assert coffee["importance"] + rim["importance"] > 0.5
    assert bowl["importance"] == pytest.approx(0.1, abs=0.03)
    assert wood["importance"] < 0.05
    assert 0.3 < espresso["explained"] < 0.36
    assert espresso["without"] < 0.1 * espresso["score"]
    assert espresso["deletion"]["mean"][2] < 0.15 * espresso["deletion"]["mean"][0]
    assert espresso["random_deletion"]["mean"][2] > 0.75 * espresso["deletion"]["mean"][0]
    assert unstable["stability"] < 0.7 < min(one["stability"] for one in espresso["concepts"] if one != unstable)
    assert len(pieces["cam_all"]["heatmaps"]) == 18
    assert len(pieces["attribute_all"]["heatmaps"]) == 13
    gone = pieces["cam_randomized"]["images"][0]["spearman"]
    stays = pieces["attribute_randomized"]["images"][0]["spearman"]
    assert max(map(abs, gone[2:])) < 0.5
    assert min(stays[: len(stays) // 2]) > 0.85


def test_what_changed_is_what_a_command_uses():
    cam = next(piece for piece in PIECES if piece.name == "cam_cat")
    features = next(piece for piece in PIECES if piece.name == "features_cat")
    assert program(cam.arguments) != program(features.arguments)


class TestWhatAPictureIsMadeOf:
    def test_comments_docstrings_and_layout_do_not_count(self, tmp_path):
        plain, told, other = (tmp_path / f"{name}.py" for name in ("plain", "told", "other"))
        plain.write_text("def f(a, b):\n    return g(a, '# no comment', b)\n")
        told.write_text(
            '"""Words."""\n\ndef f(a, b):  # why\n    """More\n    words."""\n'
            "    # and more\n    return g(\n        a, '# no comment', b)\n"
        )
        other.write_text("def f(a, b):\n    return g(a, '# a comment', b)\n")
        assert depends._meaning(plain) == depends._meaning(told)
        assert depends._meaning(plain) != depends._meaning(other)

    def test_a_demo_is_made_of_its_own_file_and_of_no_other_demo(self):
        sobel = depends.reached((*depends._ROOTS["demo"], *depends._demo(("demo", "sobel"))))
        assert "viztool.demos.concepts.sobel" in sobel
        assert {"viztool.render.panels", "viztool.render.raster", "viztool.demos.story"} <= sobel
        assert not {name for name in sobel if name.startswith("viztool.demos.concepts.") and "sobel" not in name}
        assert "viztool.render.svg" not in sobel

    def test_every_method_is_among_what_a_heatmap_is_made_of(self):
        cam = depends.reached(depends._ROOTS["cam"])
        assert {"viztool.cam.methods.gradients", "viztool.cam.methods.masks", "viztool.hooks.capture"} <= cam

    def test_only_the_photos_that_it_names(self, tmp_path):
        for name in ("a.jpg", "b.jpg"):
            (tmp_path / name).write_bytes(name.encode())
        before = depends.photos(("features", "{inputs}/a.jpg"), tmp_path)
        (tmp_path / "b.jpg").write_bytes(b"another")
        assert depends.photos(("features", "{inputs}/a.jpg"), tmp_path) == before
        (tmp_path / "a.jpg").write_bytes(b"another")
        assert depends.photos(("features", "{inputs}/a.jpg"), tmp_path) != before

    def test_what_is_not_fresh_is_named(self, monkeypatch):
        monkeypatch.chdir(GALLERY.parent)
        monkeypatch.setattr("viztool.gallery.stale", lambda folder: [PIECES[0]])
        result = CliRunner().invoke(main, ["gallery", "--check"])
        assert (result.exit_code, result.output) == (1, f"gallery/{PIECES[0].name}.png\n")
        monkeypatch.setattr("viztool.gallery.stale", lambda folder: [])
        assert CliRunner().invoke(main, ["gallery", "--check"]).exit_code == 0


def test_the_readme_is_the_one_it_writes(monkeypatch):
    monkeypatch.chdir(GALLERY.parent)
    assert (GALLERY / "README.md").read_text() == readme(Path("gallery"), PIECES)


def test_every_picture_is_in_the_readme():
    text = (GALLERY / "README.md").read_text()
    pictures = {path.name for path in GALLERY.glob("*.*") if path.suffix in (".png", ".gif")}
    assert [name for name in sorted(pictures) if name not in text] == []
    assert pictures == {f"{piece.name}{piece.suffix}" for piece in PIECES}


def test_every_photo_has_its_source():
    text = (GALLERY / "inputs" / "SOURCES.md").read_text()
    assert [photo.name for photo in (GALLERY / "inputs").glob("*.jpg") if f"`{photo.name}`" not in text] == []


def test_without_photos_it_says_where_they_are(tmp_path):
    result = CliRunner().invoke(main, ["gallery", str(tmp_path)])
    assert result.exit_code == 1
    assert result.stderr == (
        f"Error: {tmp_path}/inputs is missing; run this in a clone of the project, where the photos are\n"
    )
