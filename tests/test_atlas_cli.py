"""`viztool atlas`: what one types, what comes out, and what is said when it cannot."""

from __future__ import annotations

import json
import shutil
import tarfile

import numpy as np
import pytest
from atlas_helpers import write_photos
from click.testing import CliRunner

import viztool
from viztool.atlas.crops import Album
from viztool.atlas.thumbnails import read_thumbnails
from viztool.cli import main
from viztool.errors import ViztoolError

NET = """
import torch
def build():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 6, 3, stride=2), torch.nn.ReLU(), torch.nn.Conv2d(6, 8, 3, stride=2), torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, 3)).eval()
"""


def run(*arguments, code=0):
    result = CliRunner().invoke(main, ["atlas", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    folder = tmp_path_factory.mktemp("desk")
    (folder / "net.py").write_text(NET)
    write_photos(folder / "photos", 12)
    (folder / "photos" / "cat" / "torn.png").write_bytes(b"nothing")
    return folder


@pytest.fixture(scope="module")
def network(desk):
    return "-m", f"{desk / 'net.py'}:build", "--size", "40"


@pytest.fixture(scope="module")
def built(desk, network):
    run("build", desk / "photos", "-o", desk / "own.atlas", "-l", "1", "-l", "3", "--thumbnails", *network, code=1)
    return desk / "own.atlas"


def test_build_says_what_there_is_and_what_was_left_out(desk, network, tmp_path):
    said = run("build", desk / "photos", "-o", tmp_path / "a", "-l", "1", *network, code=1)
    assert said.splitlines()[0].endswith("a: 6 units of 1 layer over 12 photos; 1 could not be looked at")
    assert "left out: cat/torn.png is text; use JPEG, PNG," in said
    told = json.loads(run("build", desk / "photos", "-o", tmp_path / "a", "-l", "1", "--json", *network, code=1))
    assert (told["photos"], told["layers"], len(told["failed"])) == (12, {"1": 6}, 1)
    run("build", desk / "photos" / "dog", "-o", tmp_path / "b", "-l", "1", *network)
    assert run("check", tmp_path / "b") == "whole: 4 photos looked at, every checksum right\n"


def test_an_atlas_of_no_photo_is_not_drawn(desk, network, tmp_path):
    (tmp_path / "torn.png").write_bytes(b"nothing")
    run("build", tmp_path, "-o", tmp_path / "a", "-l", "1", *network, code=1)
    for arguments in (
        ("show", tmp_path / "a"),
        ("photo", tmp_path / "a", desk / "photos" / "cat" / "0001.png", *network),
    ):
        assert "is of no photo: none could be looked at; viztool atlas check says why" in run(*arguments, code=1)


def test_show_draws_a_sheet_for_each_layer(built, tmp_path):
    written = run("show", built, "-o", tmp_path).split()
    assert written == [str(tmp_path / "own_1_atlas.png"), str(tmp_path / "own_3_atlas.png")]
    told = json.loads(run("show", built, "-l", "3", "-c", "0-2,5", "--json", "-o", tmp_path / "x.png"))
    units = told["results"][0]["units"]
    assert [unit["channel"] for unit in units] == [0, 1, 2, 5]
    atlas = viztool.open_atlas(built)
    assert [unit["mean"] for unit in units] == [atlas["3"][channel].mean for channel in (0, 1, 2, 5)]


def test_a_crop_is_what_the_box_holds_and_a_thumbnail_is_the_crop(built, desk, tmp_path):
    atlas = viztool.open_atlas(built)
    away = tmp_path / "own.atlas"
    shutil.copytree(built, away)
    for layer, channel in (("1", 2), ("3", 4)):
        unit = atlas[layer][channel]
        crops = Album(atlas).crops(unit, "top", 3)
        for crop, (name, _, _, (top, left, bottom, right)) in zip(crops, unit.top, strict=False):
            photo = viztool.read_image(desk / "photos" / name)
            wanted = photo[int(top) : int(np.ceil(bottom)), int(left) : int(np.ceil(right))]
            assert np.array_equal(crop, wanted)
        kept = Album(viztool.open_atlas(away), tmp_path / "nowhere").crops(unit, "top", 3)
        for crop, small in zip(crops, kept, strict=True):
            assert small.shape == crop.shape  # all of these are smaller than a thumbnail
            assert np.abs(small.astype(int) - crop).mean() < 12  # JPEG


def test_photo_shows_what_is_unusual(built, desk, network, tmp_path):
    photo = sorted((desk / "photos" / "dog").iterdir())[0]
    told = json.loads(run("photo", built, photo, "--count", 3, "--json", "-o", tmp_path / "u.png", *network))
    atlas, model = viztool.open_atlas(built), viztool.load_model(f"{desk / 'net.py'}:build", size=40)
    wanted = atlas.unusual(model, viztool.read_image(photo), 3)
    found = [
        (unit["layer"], unit["channel"], unit["value"], unit["share_above"]) for unit in told["results"][0]["units"]
    ]
    assert found == wanted
    assert (tmp_path / "u.png").exists()


def test_npz_holds_the_counts_behind_the_picture(built, desk, network, tmp_path):
    atlas, photo = viztool.open_atlas(built), sorted((desk / "photos" / "dog").iterdir())[0]
    written = run("show", built, "-l", "3", "-c", "2,5", "--npz", "-o", tmp_path / "s.png").split()
    assert written == [str(tmp_path / "s.png"), str(tmp_path / "s.npz")]
    run("photo", built, photo, "--count", 3, "--npz", "-o", tmp_path / "u.png", *network)
    for name in ("s", "u"):
        with np.load(tmp_path / f"{name}.npz") as held:
            layers = held["layers"] if name == "u" else ["3", "3"]
            for at, (layer, channel) in enumerate(zip(layers, held["channels"], strict=True)):
                unit = atlas[str(layer)][int(channel)]
                for kind, wanted in (("positions", unit.histogram), ("maxima", unit.maxima)):
                    filled = held[kind][at].nonzero()[0]
                    assert np.array_equal(held[kind][at][filled[0] : filled[-1] + 1], wanted.counts)
                    assert np.array_equal(held["edges"][filled[0] : filled[-1] + 2], wanted.edges)


def test_check_finds_what_is_wrong(built, tmp_path):
    own = tmp_path / "own.atlas"
    shutil.copytree(built, own)
    said = run("check", own)
    assert said.startswith(
        "whole: 12 photos looked at, every checksum right\n1 of 13 photos could not be looked at:\n  cat/torn.png is "
    )
    part = next((own / "parts").iterdir())
    part.write_bytes(part.read_bytes()[:-1])
    (own / "units.parquet").write_bytes(b"")
    said = run("check", own, code=1)
    assert "units.parquet is damaged" in said and "photos 0 to 12: the part is damaged" in said
    part.unlink()
    told = json.loads(run("check", own, "--json", code=1))
    assert told["missing"] == [[0, 13]] and not told["tables"]["units.parquet"] and not told["whole"]


def cut(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 3])


READS = {
    "units.parquet": lambda atlas: atlas["3"][0].mean,
    "places.parquet": lambda atlas: atlas["3"][0].top,
    "histograms.parquet": lambda atlas: atlas["3"][0].histogram,
    "alike.parquet": lambda atlas: atlas["3"][0].alike,
    "labels.parquet": lambda atlas: atlas["3"][0].labels,
    "photos.parquet": lambda atlas: atlas.photos,
    "thumbnails-00000.parquet": lambda atlas: read_thumbnails(atlas.folder, "3"),
    "manifest.parquet": None,
    "about.json": None,
    "atlas.json": None,
}


@pytest.mark.parametrize("name", READS)
def test_what_is_damaged_is_named_and_the_same_command_mends_it(built, desk, network, tmp_path, name):
    own = tmp_path / "own.atlas"
    shutil.copytree(built, own)
    cut(own / name)
    if READS[name] is not None:
        with pytest.raises(ViztoolError) as said:
            READS[name](viztool.open_atlas(own))
        assert str(said.value) == f"{own / name} is damaged; the same build command mends it"
    assert run("check", own, code=1).splitlines()[0] == f"{name} is damaged"
    assert run("check", own, code=1).splitlines()[-1] == "the same build command mends it"
    run("build", desk / "photos", "-o", own, "-l", "1", "-l", "3", "--thumbnails", *network, code=1)
    assert run("check", own).startswith("whole: 12 photos looked at, every checksum right\n")
    for file in built.glob("*.parquet"):
        assert (own / file.name).read_bytes() == file.read_bytes()
    if name in READS and name != "atlas.json":
        (own / name).unlink()
        if READS[name] is not None and not name.startswith("thumbnails"):
            with pytest.raises(ViztoolError, match=rf"{name} is missing; the same build command mends it"):
                READS[name](viztool.open_atlas(own))
        assert f"{name} is damaged" in run("check", own, code=1)


def test_show_says_in_a_line_that_a_table_is_damaged(built, tmp_path):
    own = tmp_path / "own.atlas"
    shutil.copytree(built, own)
    cut(own / "units.parquet")
    said = run("show", own, "-o", tmp_path / "out", code=1)
    assert "ArrowInvalid" not in said
    assert said.count("units.parquet is damaged; the same build command mends it\n") == said.count("\n")


@pytest.mark.parametrize("finished", [True, False])
def test_without_its_manifest_no_part_is_taken_for_another_photos(desk, network, tmp_path, finished):
    photos, own, other = tmp_path / "photos.tar", tmp_path / "own", tmp_path / "other"
    with tarfile.open(photos, "w") as shard:  # its photos have the stamp of the one file
        for file in sorted((desk / "photos" / "cat").glob("0*.png")):
            shard.add(file, file.name)
    given = ("build", photos, "-l", "1", *network, "-o")
    run(*given, own)
    run(*given, other)
    if not finished:
        for file in ("atlas.json", "photos.parquet"):
            (own / file).unlink()
    cut(own / "manifest.parquet")
    assert run("check", own, code=1).splitlines()[0] == "manifest.parquet is damaged"
    said = run(*given, own)
    how = "made again from photos.parquet" if finished else "all photos are looked at again"
    assert f"manifest.parquet is damaged, and {'is ' if finished else ''}{how}\n" in said
    assert {file.name: file.read_bytes() for file in own.glob("*.parquet")} == {
        file.name: file.read_bytes() for file in other.glob("*.parquet")
    }


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("show", "{built}", "-c", "0"), 2, "-c names channels of one layer; give that layer with -l"),
        (("show", "{built}", "-l", "3", "-c", "0-99"), 2, "Error: layer '3' has 8 channels; there is no 8"),
        (("show", "{built}", "-l", "3", "-c", "first"), 2, "'first' names no channels; give numbers and ranges"),
        (("show", "{built}", "-l", "nope"), 2, "the atlas has no layer 'nope'; it has 1, 3"),
        (("show", "{built}", "--photos", "{desk}"), 1, " holds none of the 13 photos that "),
        (("show", "{built}", "--photos", "{desk}/nowhere"), 1, "no such file or folder: "),
        (("show", "{desk}"), 1, "holds no atlas; viztool atlas build makes one"),
        (("check", "{desk}"), 1, "holds no atlas; viztool atlas build makes one"),
        (("build", "{desk}/nowhere", "-o", "{desk}/b"), 1, "no such file or folder: "),
        (("build", "{desk}/photos", "-o", "{desk}/b", "--workers", "0"), 2, "workers is 0; give a number of processes"),
        (
            ("build", "{desk}/photos", "-o", "{desk}/c", "-l", "6", "-m", "{desk}/net.py:build"),
            2,
            "layer '6' puts out (1, 3), which holds no maps",
        ),
        (("build", "{desk}/photos", "-o", "{desk}/net.py"), 1, "an atlas cannot be kept in "),
        (("photo", "{built}", "{desk}/nowhere.png"), 1, "no such file: "),
    ],
)
def test_what_cannot_be_is_one_line(built, desk, arguments, code, says):
    given = [argument.format(built=built, desk=desk) for argument in arguments]
    said = run(*given, code=code)
    assert says in said
    assert "Traceback" not in said
