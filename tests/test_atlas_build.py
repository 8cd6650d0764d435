"""Builds that are cut short, disturbed or done by many: the same bytes, or a clear line."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from atlas_helpers import SMALL_LAYERS, OneByOne, digests, photo, small_model, write_photos

import viztool
from viztool.atlas.atlas import open_atlas
from viztool.atlas.build import build_atlas
from viztool.atlas.part import read_part
from viztool.atlas.ranges import ranges
from viztool.errors import SettingError, ViztoolError
from viztool.hooks.layouts import Layouts

COUNT = 75  # five ranges, the last one short

SCRIPT = """
import sys, time
sys.path.insert(0, {tests!r})
from atlas_helpers import SMALL_LAYERS, small_model
from viztool.atlas.build import build_atlas
model = small_model()
model.net.register_forward_hook(lambda *_: time.sleep(0.02))
print("ready", flush=True)
build_atlas(model, {photos!r}, {folder!r}, layers=SMALL_LAYERS, keep=4, workers={workers!r})
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("photos"), COUNT, {40: 3, 41: 3})


@pytest.fixture(scope="module")
def whole(photos, tmp_path_factory):
    """An atlas that was built in one go, and the digests of its tables."""
    folder = tmp_path_factory.mktemp("whole") / "atlas"
    build_atlas(small_model(), photos, folder, layers=SMALL_LAYERS, keep=4)
    return folder, digests(folder)


def build(photos, folder, **options):
    return build_atlas(small_model(), photos, folder, layers=SMALL_LAYERS, keep=4, **options)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_processes_make_the_same_bytes(photos, whole, tmp_path, workers):
    build(photos, tmp_path / "atlas", workers=workers)
    assert digests(tmp_path / "atlas") == whole[1]


def test_threads_do_not_matter(photos, whole, tmp_path):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        build(photos, tmp_path / "atlas")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert digests(tmp_path / "atlas") == whole[1]


@pytest.mark.parametrize("workers", [None, 2])
def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(photos, whole, tmp_path, workers):
    folder = tmp_path / "atlas"
    script = SCRIPT.format(tests=str(Path(__file__).parent), photos=str(photos), folder=str(folder), workers=workers)
    rng = random.Random(workers)
    for _ in range(10):
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, start_new_session=True)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(rng.uniform(0, 0.4))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    build(photos, folder, workers=workers)
    assert digests(folder) == whole[1]
    assert not list(folder.rglob(".viztool-*"))  # what a killed one was writing is gone


def test_what_is_finished_is_not_computed_again(photos, whole, tmp_path):
    folder = tmp_path / "atlas"
    shutil.copytree(whole[0], folder)
    (folder / "atlas.json").unlink()
    parts = sorted((folder / "parts").iterdir())
    before = {path.name: path.stat().st_mtime_ns for path in parts}
    parts[1].unlink()
    said = []
    seen = []
    build(photos, folder, say=said.append, callback=seen.append)
    after = {path.name: path.stat().st_mtime_ns for path in (folder / "parts").iterdir()}
    assert [name for name in before if before[name] != after[name]] == [parts[1].name]
    assert [(one.done, one.found) for one in seen] == [(COUNT - 16, COUNT - 16), (COUNT, COUNT - 16)]
    assert said == []
    assert digests(folder) == whole[1]


def test_links_are_finished_once_and_followed_when_they_change(photos, tmp_path):
    own, folder, target = tmp_path / "photos", tmp_path / "atlas", tmp_path / "target.png"
    own.mkdir()
    shutil.copy(sorted(photos.rglob("*.png"))[0], target)
    for number in range(20):
        (own / f"{number:02d}.png").symlink_to(target)
    (own / "20.png").symlink_to(tmp_path / "nowhere.png")
    build(own, folder)
    said, seen = [], []
    build(own, folder, say=said.append, callback=seen.append)
    assert (said, seen) == ([], [])  # a finished build looks at nothing again
    shutil.copy(sorted(photos.rglob("*.png"))[50], target)
    os.utime(target, ns=(1, 1))
    build(own, folder, say=said.append)
    assert said == ["00.png and 15 others changed since the last run", "16.png and 3 others changed since the last run"]
    shutil.copy(target, tmp_path / "nowhere.png")
    build(own, folder, say=said.append)
    assert said[2:] == ["20.png changed since the last run"]


@pytest.mark.parametrize("harm", ["cut", "flip", "empty", "foreign"])
def test_a_damaged_part_is_done_again(photos, whole, tmp_path, harm):
    folder = tmp_path / "atlas"
    shutil.copytree(whole[0], folder)
    part = sorted((folder / "parts").iterdir())[2]
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(
        {"cut": part.read_bytes()[:-9], "flip": bytes(content), "empty": b"", "foreign": b"a note of mine"}[harm]
    )
    said = []
    (folder / "atlas.json").unlink()
    build(photos, folder, say=said.append)
    assert said == ["the part of photos 32 to 47 is damaged, and is done again"]
    assert digests(folder) == whole[1]


def test_a_photo_that_changed_is_looked_at_again(photos, whole, tmp_path):
    own, folder = tmp_path / "photos", tmp_path / "atlas"
    shutil.copytree(photos, own)
    build(own, folder)
    assert digests(folder) == whole[1]
    changed = sorted(own.rglob("*.png"))[20]
    shutil.copy(sorted(own.rglob("*.png"))[50], changed)
    os.utime(changed, ns=(1, 1))
    said = []
    atlas = build(own, folder, say=said.append)
    assert said == [f"{changed.relative_to(own).as_posix()} changed since the last run"]
    fresh = tmp_path / "fresh"
    build(own, fresh)
    assert digests(folder) == digests(fresh) != whole[1]
    assert atlas.photos == COUNT


def test_a_photo_that_vanished_is_said_and_listed(photos, tmp_path):
    own, folder = tmp_path / "photos", tmp_path / "atlas"
    shutil.copytree(photos, own)
    build(own, folder)
    gone = sorted(own.rglob("*.png"))[3]
    gone.unlink()
    (own / "cat" / "new.png").write_bytes(gone.with_name(sorted(own.rglob("*.png"))[0].name).read_bytes())
    said = []
    atlas = build(own, folder, say=said.append)
    name = gone.relative_to(own).as_posix()
    assert said[0] == "1 photos of the manifest are gone"
    assert said[1].startswith("1 photos are new since this atlas was begun and are left out")
    assert atlas.failed == [(name, f"{name} is not there")]
    assert atlas.photos == COUNT - 1


def test_broken_photos_are_listed_and_the_rest_counts(tmp_path):
    own = write_photos(tmp_path / "photos", 20)
    paths = sorted(own.rglob("*.png"))
    paths[2].write_bytes(b"")
    paths[5].write_bytes(b"no picture at all")
    paths[11].write_bytes(paths[11].read_bytes()[:100])
    paths[12].unlink()
    paths[12].symlink_to(tmp_path / "nowhere.png")
    atlas = build(own, tmp_path / "atlas")
    names = [path.relative_to(own).as_posix() for path in paths]
    assert [name for name, _ in atlas.failed] == [names[at] for at in (2, 5, 11, 12)]
    assert all(reason.startswith(name) for name, reason in atlas.failed)
    assert atlas.photos == 16
    left = {name for unit in atlas["1"] for name, *_ in [*unit.top, *unit.least]}
    assert not left & {name for name, _ in atlas.failed}


@pytest.mark.parametrize("bad", [range(16), range(16, 32), range(32, 40), range(40)])
def test_a_range_of_which_no_photo_can_be_read(tmp_path, bad):
    """The atlas is that of the other photos."""
    own, left = tmp_path / "photos", tmp_path / "left"
    own.mkdir()
    left.mkdir()
    for number in range(40):
        cv2.imwrite(str(own / f"{number:02d}.png"), photo(number))
        if number in bad:
            (own / f"{number:02d}.png").write_bytes(b"junk")
        else:
            shutil.copy(own / f"{number:02d}.png", left)
    atlas = build(own, tmp_path / "atlas", thumbnails=True)
    assert [name for name, _ in atlas.failed] == [f"{number:02d}.png" for number in bad]
    assert atlas.photos == 40 - len(bad)
    if len(bad) == 40:
        assert [unit.top for unit in atlas["1"]] == [[]] * 6
        assert np.isnan([atlas["1"][0].mean, atlas["1"][0].maximum, atlas["1"][0].quantile(0.5)]).all()
        with pytest.raises(ViztoolError, match="is of no photo: none could be looked at; viztool atlas check says why"):
            atlas.unusual(small_model(), photo(0))
        return
    wanted = build(left, tmp_path / "wanted")
    for layer in SMALL_LAYERS:
        for unit, other in zip(atlas[layer], wanted[layer], strict=True):
            assert (unit.top, unit.least) == (other.top, other.least)
            assert np.array_equal(unit.histogram.counts, other.histogram.counts)
            assert np.allclose([unit.mean, unit.sd, unit.maximum], [other.mean, other.sd, other.maximum])


def test_a_folder_of_photos_that_is_gone_later(tmp_path):
    own, folder = tmp_path / "photos", tmp_path / "atlas"
    for number in range(32):
        (own / "ab"[number // 16]).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(own / "ab"[number // 16] / f"{number:02d}.png"), photo(number))
    build(own, folder)
    shutil.rmtree(own / "b")
    assert build(own, folder).photos == 16
    assert [name for name, _ in open_atlas(folder).failed] == [f"b/{number}.png" for number in range(16, 32)]


def test_photos_on_which_the_network_is_not_finite_do_not_count(tmp_path):
    class Breaks(torch.nn.Module):
        def forward(self, x):
            return torch.where(x.amin((1, 2, 3), keepdim=True) == x.amax((1, 2, 3), keepdim=True), torch.nan, x)

    model = viztool.wrap_model(torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1), Breaks()).eval(), size=32)
    with torch.no_grad():
        model.net[0].weight.zero_()[:, 0] = 1
        model.net[0].bias.zero_()
    white = np.full((40, 52, 3), 255, np.uint8)
    atlas = build_atlas(model, [photo(1), white, photo(2)], tmp_path / "atlas", layers=["0", "1"], keep=3)
    assert atlas.failed == [("1", "the network's activations are not finite on it")]
    assert atlas.photos == 2
    # The layer before is finite, and yet the photo counts nowhere.
    assert {name for name, *_ in atlas["0"][0].top} == {"0", "2"}


def test_another_atlas_is_refused_with_what_differs(photos, whole, tmp_path):
    folder = tmp_path / "atlas"
    shutil.copytree(whole[0], folder)
    with pytest.raises(ViztoolError, match=r"holds another atlas \(keep: 4, now 7\); build elsewhere, or throw"):
        build_atlas(small_model(), photos, folder, layers=SMALL_LAYERS, keep=7)
    other = small_model()
    with torch.no_grad():
        other.net[0].weight[0, 0, 0, 0] += 1e-3
    with pytest.raises(ViztoolError, match=r"holds another atlas \(weights: "):
        build_atlas(other, photos, folder, layers=SMALL_LAYERS, keep=4)
    assert digests(folder) == whole[1]
    build_atlas(small_model(), photos, folder, layers=SMALL_LAYERS, keep=7, restart=True)
    assert len(open_atlas(folder)["1"][0].top) == 7


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("kind", ["folder", "same names", "part of it", "list", "emptied"])
def test_photos_from_somewhere_else_are_refused(photos, whole, tmp_path, kind, finished):
    """A slip of -o must not empty an atlas."""
    own, folder, other = tmp_path / "photos", tmp_path / "atlas", tmp_path / "other"
    shutil.copytree(photos, own)
    build(own, folder)
    if not finished:
        (folder / "atlas.json").unlink()
        sorted((folder / "parts").iterdir())[0].unlink()
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    given, name = other, str(other)
    if kind == "folder":
        write_photos(other / "more", 20)
    elif kind == "same names":
        shutil.copytree(photos, other, copy_function=shutil.copyfile)  # without their times: not known as the same
    elif kind == "part of it":
        shutil.copytree(photos / "dog", other / "dog")
    elif kind == "list":
        given, name = sorted(write_photos(other, 20).rglob("*.png")), "20 files"
    else:
        shutil.rmtree(own)
        given, name = write_photos(own / "more", 20).parent, str(own)
    with pytest.raises(ViztoolError) as refused:
        build(given, folder)
    assert str(refused.value) == (
        f"{folder} holds an atlas of {own}, and {name} has other photos; build elsewhere, or throw it away with restart"
    )
    assert {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == before
    assert build(given, folder, restart=True).ids != open_atlas(whole[0]).ids or kind == "same names"


def test_photos_that_were_moved_are_the_same(photos, whole, tmp_path):
    folder, moved = tmp_path / "atlas", tmp_path / "moved"
    shutil.copytree(whole[0], folder)
    shutil.copytree(photos, moved)
    sorted((folder / "parts").iterdir())[1].unlink()
    said, seen = [], []
    build(moved, folder, say=said.append, callback=seen.append)
    assert (said, seen[0].found, digests(folder)) == ([], COUNT - 16, whole[1])


def test_a_list_may_gain_and_lose_a_photo(photos, tmp_path):
    files, said = sorted((photos / "cat").iterdir())[:20], []
    build(files[:18], tmp_path / "atlas")
    atlas = build([*files[1:18], files[19]], tmp_path / "atlas", say=said.append)
    assert atlas.failed == [(files[0].name, f"{files[0].name} is not there")]
    assert said[0] == "1 photos of the manifest are gone" and said[1].startswith("1 photos are new since this atlas")


def test_what_differs_is_said_and_no_more(photos, whole):
    other = viztool.wrap_model(small_model().net, size=(32, 40), mean=0.1, std=0.25)
    with pytest.raises(
        ViztoolError,
        match=r"another atlas \(preprocessing: resize 32 × 36 bilinear and crop 32 × 36 and mean 0.5, now "
        r"resize 32 × 40 bilinear and crop 32 × 40 and mean 0.1\); build elsewhere",
    ):
        build_atlas(other, photos, whole[0], layers=SMALL_LAYERS, keep=4)
    other = small_model()
    with torch.no_grad():
        other.net[0].weight[0, 0, 0, 0] += 1e-3
    with pytest.raises(ViztoolError, match=r"\(weights: [0-9a-f]{12}…, now [0-9a-f]{12}…\)"):
        build_atlas(other, photos, whole[0], layers=SMALL_LAYERS, keep=4)


def test_two_builds_in_one_folder(photos, tmp_path):
    folder = tmp_path / "atlas"
    script = SCRIPT.format(tests=str(Path(__file__).parent), photos=str(photos), folder=str(folder), workers=None)
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    deadline = time.time() + 60
    while not (folder / "building.json").exists() and time.time() < deadline:
        time.sleep(0.01)
    with pytest.raises(
        ViztoolError, match=rf"is being built by process {process.pid} on .*; wait for it, or build else"
    ):
        build(photos, folder)
    process.kill()
    process.wait()
    process.stdout.close()
    build(photos, folder)  # the lock of a dead process holds nobody up


def test_it_may_be_read_while_it_grows(photos, whole, tmp_path):
    folder = tmp_path / "atlas"
    shutil.copytree(whole[0], folder)
    for path in (*folder.glob("*.parquet"), folder / "atlas.json"):
        if path.name != "manifest.parquet":
            path.unlink()
    for path in sorted((folder / "parts").iterdir())[2:]:
        path.unlink()
    atlas = open_atlas(folder)
    assert atlas.photos == 32
    assert len(atlas.failed) == COUNT - 32
    assert atlas.failed[0][1] == "not looked at yet"
    assert atlas["1"][0].top


def test_reading_needs_no_torch(whole):
    code = (
        "import sys; import viztool; from viztool.atlas import open_atlas\n"
        f"atlas = open_atlas({str(whole[0])!r})\n"
        "unit = atlas['5'][1]; print(unit, unit.top, unit.quantile(0.99), unit.alike, atlas.failed, unit.numbers)\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("relevance", [False, True])
def test_a_network_that_goes_image_by_image_gets_them_so(tmp_path, relevance):
    photos = write_photos(tmp_path / "photos", 20)
    settings = {"size": (32, 36), "mean": 0.5, "std": 0.25}
    model = viztool.wrap_model(OneByOne(), **settings)
    layers = [f"f.{name}" for name in SMALL_LAYERS]
    found = viztool.build_atlas(model, photos, tmp_path / "one", layers=layers, keep=5, relevance=relevance)
    shared = viztool.build_atlas(model, photos, tmp_path / "two", layers=layers, keep=5, relevance=relevance, workers=2)
    assert digests(found.folder) == digests(shared.folder)
    assert found.about["fingerprint"]["batch"] == 1
    usual = viztool.build_atlas(
        small_model(), photos, tmp_path / "usual", layers=list(SMALL_LAYERS), keep=5, relevance=relevance
    )
    assert usual.about["fingerprint"]["batch"] == 8
    assert found.failed == usual.failed
    for name in SMALL_LAYERS:
        np.testing.assert_allclose(found.maxima(f"f.{name}"), usual.maxima(name), rtol=1e-5, atol=1e-6)


def test_the_network_is_as_it_was(photos, tmp_path):
    model = small_model()
    model.net.train()
    model.net[4].eval()
    before = {name: value.clone() for name, value in model.net.state_dict().items()}
    build_atlas(model, photos, tmp_path / "atlas", layers=SMALL_LAYERS, keep=4)
    assert [module.training for module in model.net] == [at != 4 for at in range(len(model.net))]
    assert all(torch.equal(value, before[name]) for name, value in model.net.state_dict().items())


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"workers": 0}, SettingError, r"^workers is 0; give a number of processes, ray, or ray://HOST:PORT$"),
        ({"workers": "dask"}, SettingError, r"^workers is 'dask'; give"),
        ({"keep": 0}, SettingError, r"^keep is 0; give at least 1$"),
    ],
)
def test_settings_that_cannot_be(photos, tmp_path, options, error, says):
    with pytest.raises(error, match=says):
        build_atlas(small_model(), photos, tmp_path / "atlas", layers=SMALL_LAYERS, **options)


def test_no_room_leaves_what_is_finished(photos, whole, tmp_path, monkeypatch):
    folder = tmp_path / "atlas"
    written = []

    def full(path, *_):
        if len(written) == 2:
            raise ViztoolError(f"{path} cannot be written (No space left on device); write elsewhere with -o")
        written.append(path)
        return real(path, *_)

    import viztool.atlas.worker as worker

    real = worker.write_part
    monkeypatch.setattr(worker, "write_part", full)
    with pytest.raises(ViztoolError, match="No space left on device"):
        build(photos, folder)
    monkeypatch.undo()
    assert all(read_part(path) is not None for path in written)
    build(photos, folder)
    assert digests(folder) == whole[1]


def test_ranges_depend_on_the_number_of_photos_alone():
    for count in (1, 15, 16, 17, 200, 2_000, 10_000, 1_281_167):
        bounds = ranges(count)
        assert bounds[0][0] == 0 and bounds[-1][1] == count
        assert all(a[1] == b[0] for a, b in pairwise(bounds))
        assert {stop - start for start, stop in bounds[:-1]} <= {bounds[0][1] - bounds[0][0]}


def test_layouts_are_followed_in_the_first_batch_alone(photos, whole, tmp_path, monkeypatch):
    begun, enter, so_far = [], Layouts.enter, []

    def noted(self, *given):
        begun.append(given[0])
        enter(self, *given)

    monkeypatch.setattr(Layouts, "enter", noted)
    build(photos, tmp_path / "atlas", callback=lambda _: so_far.append(len(begun)))
    assert begun[-8:] == ["", "0", "1", "2", "3", "4", "5", "6"]
    assert so_far[1] > so_far[0]
    assert so_far[2:] == [so_far[1]] * (len(ranges(COUNT)) - 1)
    assert digests(tmp_path / "atlas") == whole[1]
