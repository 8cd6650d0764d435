"""The gallery tells the same story as the code."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

import viztool
from viztool.cli import main
from viztool.gallery import PIECES, page

GALLERY = Path(__file__).parents[1] / "gallery"


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory):
    """A gallery made anew, from the photos alone."""
    folder = tmp_path_factory.mktemp("clone") / "gallery"
    shutil.copytree(GALLERY / "inputs", folder / "inputs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder.parent)
        result = CliRunner().invoke(main, ["gallery"])
    assert result.exit_code == 0, result.output
    assert result.output.split() == [f"gallery/{piece.name}.png" for piece in PIECES]
    return folder


def figures(value):
    """All numbers in a nested structure, by path, but for versions."""
    if isinstance(value, dict):
        return {
            f"{key}/{path}": number
            for key, item in value.items()
            if key not in ("versions", "files")
            for path, number in figures(item).items()
        }
    if isinstance(value, list):
        return {f"{i}/{path}": number for i, item in enumerate(value) for path, number in figures(item).items()}
    return {"": value}


@pytest.mark.parametrize("piece", PIECES, ids=lambda piece: piece.name)
class TestPieces:
    def test_the_committed_numbers_are_the_ones_it_gives_today(self, piece, rebuilt):
        committed = json.loads((GALLERY / f"{piece.name}.json").read_text())
        today = json.loads((rebuilt / f"{piece.name}.json").read_text())
        assert [entry["class"] for entry in today["predictions"][:1]] == [
            entry["class"] for entry in committed["predictions"][:1]
        ]
        for mine, theirs in zip(committed["predictions"], today["predictions"], strict=True):
            assert mine["probability"] == pytest.approx(theirs["probability"], abs=0.01)
        for mine, theirs in zip(committed["layers"], today["layers"], strict=True):
            for key in ("name", "type", "shape", "receptive_field"):
                assert mine[key] == theirs[key]
            assert mine["dead"] == pytest.approx(theirs["dead"], abs=3), "a value next to zero may fall on either side"
            best = {channel["index"]: channel["sd"] for channel in mine["channels"]}
            shared = [channel for channel in theirs["channels"] if channel["index"] in best]
            assert len(shared) >= 0.8 * len(best)
            for channel in shared:
                assert channel["sd"] == pytest.approx(best[channel["index"]], rel=0.01)

    def test_its_command_makes_it(self, piece, rebuilt):
        numbers = json.loads((rebuilt / f"{piece.name}.json").read_text())
        command = numbers["command"].split()
        assert command[:2] == ["viztool", "features"]
        assert command[-2:] == ["-o", f"gallery/{piece.name}.png"]
        assert viztool.read_image(rebuilt / f"{piece.name}.png").shape[1] == 1340


def test_the_readme_is_the_one_it_writes():
    assert (GALLERY / "README.md").read_text() == page(GALLERY)


def test_every_picture_is_in_the_readme():
    text = (GALLERY / "README.md").read_text()
    assert [path.stem for path in sorted(GALLERY.glob("*.png")) if path.name not in text] == []
    assert {path.stem for path in GALLERY.glob("*.png")} == {piece.name for piece in PIECES}


def test_every_photo_has_its_source():
    text = (GALLERY / "inputs" / "SOURCES.md").read_text()
    assert [photo.name for photo in (GALLERY / "inputs").glob("*.jpg") if f"`{photo.name}`" not in text] == []


def test_without_photos_it_says_where_they_are(tmp_path):
    result = CliRunner().invoke(main, ["gallery", str(tmp_path)])
    assert result.exit_code == 1
    assert result.stderr == (
        f"Error: {tmp_path}/inputs is missing; run this in a clone of the project, where the photos are\n"
    )
