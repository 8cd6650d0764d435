"""`viztool kernels` and `viztool dream`: files, manifests, an interrupted run, wrong usage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from kernel_nets import shared
from PIL import Image

import viztool
from viztool.cli import main
from viztool.errors import ViztoolError
from viztool.images import write_image
from viztool.kernels.ascent import Optima, Progress
from viztool.kernels.dream import dream
from viztool.kernels.grid import activation_grid
from viztool.kernels.growth import Growth, spaced
from viztool.kernels.loop import maximize
from viztool.kernels.objectives import channel, layer_energy
from viztool.kernels.store import FolderStore

NET = Path(__file__).with_name("kernel_nets.py")
ARGUMENTS = ["-m", f"{NET}:shared_net", "-l", "second", "--steps", "3", "--size", "24"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str, fails: int = 0) -> Result:
    result = CliRunner().invoke(main, [*arguments])
    assert result.exit_code == fails, result.output
    return result


class TestKernels:
    def test_one_sheet_and_its_numbers(self, folder: Path) -> None:
        manifest = json.loads(run("kernels", *ARGUMENTS, "-c", "0-1,4", "--json").stdout)
        (entry,) = manifest["results"]
        assert entry["files"] == ["second_kernels.png"]
        assert [kernel["unit"] for kernel in entry["kernels"]] == [0, 1, 4]
        assert viztool.read_image(folder / "second_kernels.png").shape[1] == 1340
        assert [path.name for path in folder.iterdir()] == ["second_kernels.png"]

    def test_it_is_what_the_library_gives(self, folder: Path) -> None:
        from kernel_nets import shared_net

        run("kernels", *ARGUMENTS, "-c", "all", "--npz", "-o", "a.png")
        torch.manual_seed(0)
        sheet = viztool.visualize_kernels(viztool.wrap_model(shared_net().eval()), "second", range(6), 3, 24)
        with np.load(folder / "a.npz") as saved:
            np.testing.assert_array_equal(saved["optimum"], sheet.arrays["optimum"])

    def test_each_and_a_film(self, folder: Path) -> None:
        run("kernels", *ARGUMENTS, "-c", "2,3", "--each", "--alpha", "--gif")
        assert sorted(path.name for path in (folder / "second_kernels").iterdir()) == [
            "second_0002.png",
            "second_0003.png",
        ]
        with Image.open(folder / "second_kernels" / "second_0002.png") as image:
            assert image.mode == "RGBA"
        with Image.open(folder / "second_kernels.gif") as film:
            assert film.n_frames == 3
            assert film.size == (2 * 256 + 8, 256 + 18 + 18), "the channels stand below, and the step below them"

    def test_a_film_alone(self, folder: Path) -> None:
        run("kernels", *ARGUMENTS, "-c", "2,3", "-o", "growth.gif")
        assert [path.name for path in folder.iterdir()] == ["growth.gif"]
        with Image.open(folder / "growth.gif") as film:
            assert film.n_frames == 3

    def test_a_film_shows_every_step_though_a_run_was_interrupted(self, folder: Path) -> None:
        arguments = ["-c", "0,1", "-o", "growth.gif"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Growth, "save", lambda *_, **__: (_ for _ in ()).throw(ViztoolError("no room")))
            run("kernels", *ARGUMENTS, *arguments, fails=1)
        assert (folder / ".growth.gif.unfinished").exists()
        run("kernels", *ARGUMENTS, *arguments)
        assert [path.name for path in folder.iterdir()] == ["growth.gif"]

    def test_steps_on_the_way(self, folder: Path) -> None:
        run("kernels", *ARGUMENTS, "-c", "2,3", "--save-every", "2")
        names = sorted(path.name for path in (folder / "second_kernels_steps").iterdir())
        assert names == ["step_00002.png", "step_00003.png"]

    def test_photos_beside_it(self, folder: Path) -> None:
        rng = np.random.default_rng(0)
        for index in range(3):
            write_image(folder / "photos" / f"{index}.png", rng.integers(0, 256, (32, 32, 3), np.uint8))
        manifest = json.loads(
            run("kernels", *ARGUMENTS, "-c", "0", "--photos", "photos", "--keep", "2", "--json").stdout
        )
        (kernel,) = manifest["results"][0]["kernels"]
        assert len(kernel["photos"]["top"]) == 2
        assert kernel["natural"]["max"] >= kernel["natural"]["mean"]

    def test_a_class(self, folder: Path) -> None:
        arguments = [*ARGUMENTS[:2], *ARGUMENTS[4:], "--target", "3"]
        manifest = json.loads(run("kernels", *arguments, "--json").stdout)
        assert manifest["results"][0]["files"] == ["classes_kernels.png"]
        assert manifest["results"][0]["kernels"][0]["label"] == "class 3"

    def test_a_band_for_each_layer_and_one_for_classes(self, folder: Path) -> None:
        """Each band is the sheet that one gets by its layer alone."""
        arguments = ["-l", "first", *ARGUMENTS[:4], *ARGUMENTS[4:], "-c", "1,2", "--target", "3", "--npz", "--each"]
        manifest = json.loads(run("kernels", *arguments, "--json").stdout)
        (entry,) = manifest["results"]
        assert entry["files"][:2] == ["layers_kernels.png", "layers_kernels.npz"]
        assert [Path(file).name for file in entry["files"][2:]] == [
            *("first_0001.png", "first_0002.png", "second_0001.png", "second_0002.png", "class_0003.png")
        ]
        assert [sheet["name"] for sheet in entry["sheets"]] == ["first", "second", "classes"]
        assert [[kernel["label"] for kernel in sheet["kernels"]] for sheet in entry["sheets"]] == [
            *(["#1", "#2"], ["#1", "#2"], ["class 3"])
        ]
        run("kernels", *ARGUMENTS, "-c", "1,2", "--npz", "--no-negative", "-o", "alone.png")
        with np.load("layers_kernels.npz") as bands, np.load("alone.npz") as alone:
            np.testing.assert_array_equal(bands["second/optimum"], alone["optimum"])
        assert viztool.read_image(folder / "layers_kernels.png").shape[1] == 1340

    def test_the_same_units_with_each_transform_left_out(self, folder: Path) -> None:
        arguments = [*ARGUMENTS, "-c", "1,2", "--compare", "transforms", "--npz", "-o", "a.png", "--each"]
        (entry,) = json.loads(run("kernels", *arguments, "--json").stdout)["results"]
        names = ["all: shifts, zooms, turns", "without shifts", "without zooms", "without turns", "none"]
        assert [sheet["name"] for sheet in entry["sheets"]] == names
        used = [sheet["settings"]["transforms"] for sheet in entry["sheets"]]
        kinds = {"shifts": "jitter", "zooms": "scale", "turns": "rotate"}
        for name, transforms in zip(names, used, strict=True):
            for kind, word in kinds.items():
                assert (word in transforms) == (name.startswith("all") or (name != "none" and kind not in name))
        assert used[-1] == "Transforms()"
        assert entry["files"][2:4] == ["a/all/second_0001.png", "a/all/second_0002.png"]
        assert entry["files"][-1] == "a/none/second_0002.png"
        with np.load("a.npz") as found:
            pictures = [found[f"{name}/optimum"] for name in names]
        assert all(not np.array_equal(one, two) for index, one in enumerate(pictures) for two in pictures[:index])

    def test_by_what_they_are_made_from(self, folder: Path) -> None:
        (entry,) = json.loads(run("kernels", *ARGUMENTS, "-c", "1", "--compare", "param", "--json").stdout)["results"]
        kinds = ["pixels", "fourier", "maco", "laplacian", "cppn"]
        assert [sheet["settings"]["parameterization"] for sheet in entry["sheets"]] == kinds
        assert entry["files"] == ["second_kernels.png"]

    def test_dead_units_stay_so_without_redirection(self, folder: Path) -> None:
        arguments = ["-m", f"{NET}:sleeping_net", "-l", "awake", "-c", "0", "--size", "16", "--steps", "30"]
        (entry,) = json.loads(run("kernels", *arguments, "--compare", "redirect", "--json").stdout)["results"]
        plain, redirected = (sheet["kernels"][0]["optimum"] for sheet in entry["sheets"])
        assert plain["status"] == "never responds"
        assert redirected["status"] == "ok"
        assert redirected["activation"] > plain["activation"] == 0

    def test_interrupted_bands_go_on(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        command = import_module("viztool.cli.ascents")
        arguments = [*ARGUMENTS, "-l", "first", "-c", "0,1", "-o", "a.png"]

        def pressed(progress: Progress) -> None:
            if steps.append(progress.step) or len(steps) == 5:
                raise KeyboardInterrupt

        steps: list[int] = []

        @contextmanager
        def impatient(*_: object) -> Iterator[object]:
            yield pressed, None

        monkeypatch.setattr(command, "_progress", impatient)
        error = run("kernels", *arguments, fails=1).stderr
        assert error == "Error: interrupted; nothing is written yet, and the same command goes on there\n"
        run("kernels", *arguments)
        assert steps == [1, 2, 3, 1, 2, 1, 2, 3], "the first layer is not done again"
        assert [path.name for path in folder.iterdir()] == ["a.png"]

    def test_an_interrupted_run_says_so_and_goes_on(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        run("kernels", *ARGUMENTS, "-c", "all", "--npz", "-o", "whole.png")
        save = FolderStore.save

        def interrupted(self: FolderStore, part: int, optima: Optima) -> None:
            save(self, part, optima)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(FolderStore, "save", interrupted)
            CliRunner().invoke(main, ["kernels", *ARGUMENTS, "-c", "all", "--npz", "-o", "part.png"])
        kept = folder / ".part.png.unfinished"
        assert sorted(path.name for path in kept.iterdir()) == ["00000.npz", "run.json"]
        made: list[int] = []
        monkeypatch.setattr(FolderStore, "save", lambda self, part, optima: made.append(part))
        run("kernels", *ARGUMENTS, "-c", "all", "--npz", "-o", "part.png")
        assert made == [1]
        assert not kept.exists()
        with np.load("whole.npz") as whole, np.load("part.npz") as part:
            for name in whole.files:
                np.testing.assert_array_equal(part[name], whole[name])

    @pytest.mark.parametrize(("at", "written"), [(0, False), (8, True)])
    def test_ctrl_c_keeps_what_is_finished(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, at: int, written: bool
    ) -> None:
        command = import_module("viztool.cli.ascents")

        def pressed(progress: Progress) -> None:
            if progress.indices.start == at and progress.step == 2:
                raise KeyboardInterrupt

        @contextmanager
        def impatient(*_: object) -> Iterator[object]:
            yield pressed, None

        with monkeypatch.context() as patch:
            patch.setattr(command, "_progress", impatient)
            result = run("kernels", *ARGUMENTS, "-c", "all", fails=1)
        assert (folder / "second_kernels.png").exists() == written
        if written:
            assert result.stderr == "interrupted: 2 of 6 not finished; the same command goes on there\n"
        else:
            assert result.stderr == "Error: interrupted before any picture was finished; nothing is written\n"
        manifest = json.loads(run("kernels", *ARGUMENTS, "-c", "all", "--json").stdout)
        assert [kernel["optimum"]["status"] for kernel in manifest["results"][0]["kernels"]] == ["ok"] * 6
        assert [path.name for path in folder.iterdir()] == ["second_kernels.png"]

    def test_parts_of_another_run_are_not_taken(self, folder: Path) -> None:
        model = shared()
        optima = maximize(model, channel("second", 0), steps=1, size=8)

        def opened(steps: int) -> FolderStore:
            store = FolderStore(folder / "parts")
            store.open({"steps": steps, "size": (8, 8)})
            return store

        opened(1).save(0, optima)
        found = opened(1).load(0)
        assert found is not None
        assert torch.equal(found.images, optima.images)
        assert (found.steps, found.status) == (optima.steps, optima.status)
        assert opened(2).load(0) is None
        assert not (folder / "parts").exists()

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([], "name a layer with -l, or classes with --target"),
            (["-l", "a", "--target", "b", "--compare", "param"], "--compare takes one layer, or classes"),
            (["-l", "a", "-l", "b", "-o", "x.gif"], "--gif, --save-every, --rank and --spread take one layer, or"),
            (["-l", "a", "--compare", "param", "--spread"], "--rank and --spread take one layer, or classes, and no"),
            (["-l", "a", "-c", "4-2"], "'4-2' is not channels, such as 3, 0-7,12 or all"),
            (["-l", "a", "--alpha"], "--alpha is of single pictures: add --each"),
        ],
    )
    def test_wrong_usage(self, folder: Path, arguments: list[str], message: str) -> None:
        assert message in run("kernels", *arguments, fails=2).stderr

    def test_what_exists_is_kept(self, folder: Path) -> None:
        (folder / "second_kernels.png").write_text("mine")
        assert "second_kernels.png exists; use --force" in run("kernels", *ARGUMENTS, "-c", "0", fails=1).stderr
        assert (folder / "second_kernels.png").read_text() == "mine"

    def test_a_channel_that_is_not_there(self, folder: Path) -> None:
        error = run("kernels", *ARGUMENTS, "-c", "9", fails=2).stderr
        assert error == "Error: layer 'second' has 6 channels, 0 to 5, and no 9\n"


class TestGrowth:
    def test_its_last_frame_is_the_picture_and_its_steps_lie_closer_at_the_start(self) -> None:
        growth, steps = Growth(spaced(20, 5)), []

        def both(progress: Progress) -> None:
            before = len(growth._films.get(0, []))
            growth(progress)
            if len(growth._films[0]) > before:
                steps.append(progress.step)

        found = maximize(shared(), [channel("second", 0)] * 3, steps=20, size=16, callback=both)
        assert steps == [1, 5, 11, 20]
        frames = growth.frames()
        last = (found.images[2] * 255).round().byte().permute(1, 2, 0).numpy()
        enlarged = cv2.resize(last, (256, 256), interpolation=cv2.INTER_NEAREST)
        np.testing.assert_array_equal(frames[-1][:256, 528:], enlarged)

    def test_of_nothing_there_is_no_film(self) -> None:
        with pytest.raises(ViztoolError, match=r"^there is nothing to film: no picture was made in this run$"):
            Growth([1]).frames()


PHOTO = np.random.default_rng(1).integers(60, 200, (48, 64, 3), np.uint8)


class TestDream:
    def test_the_layer_sees_more_and_the_network_is_left_alone(self) -> None:
        model = shared()
        model.net.train()
        result = dream(model, PHOTO, "second", octaves=2, steps=4)
        assert result.pixels.shape == PHOTO.shape
        assert result.after > 1.2 * result.before
        x = torch.from_numpy(PHOTO).permute(2, 0, 1)[None] / 255
        model.net.eval()
        with torch.no_grad(), viztool.capture(model.net, "second") as acts:
            model.net(x - 0.5)
        assert result.before == pytest.approx(acts["second"].square().mean().item(), rel=1e-3)
        json.dumps(result.numbers, allow_nan=False)

    def test_one_channel_and_a_smaller_picture(self) -> None:
        model = shared()
        found = [dream(model, PHOTO, "second", index, octaves=1, steps=6, longest=40, seed=3) for index in (0, 0, 1)]
        assert found[0].pixels.shape == (32, 40, 3)
        np.testing.assert_array_equal(found[0].pixels, found[1].pixels)
        assert not np.array_equal(found[0].pixels, found[2].pixels)
        assert found[0].after > found[0].before
        assert found[0].objective == "second #0"

    def test_without_strength_it_is_the_photo(self) -> None:
        result = dream(shared(), PHOTO, "second", octaves=3, steps=1, strength=0.0)
        np.testing.assert_array_equal(result.pixels, PHOTO)

    def test_a_grey_network_dreams_in_grey(self) -> None:
        result = dream(shared(1), PHOTO, "second", octaves=1, steps=2)
        assert (result.pixels[..., 0] == result.pixels[..., 2]).all()

    def test_the_command(self, folder: Path) -> None:
        write_image(folder / "cat.png", PHOTO)
        manifest = json.loads(
            run("dream", "cat.png", *ARGUMENTS[:4], "--octaves", "1", "--steps", "1", "--json").stdout
        )
        assert manifest["results"][0]["files"] == ["cat_dream.png"]
        assert manifest["results"][0]["objective"] == str(layer_energy("second"))
        run("dream", "cat.png", *ARGUMENTS[:4], "--grid", "--steps", "1", "-q")
        assert viztool.read_image(folder / "cat_grid.png").shape[1] == 1340
        assert "--grid draws all channels together" in run("dream", "x", "-l", "a", "-c", "1", "--grid", fails=2).stderr


class TestGrid:
    def test_each_place_is_drawn_by_its_own_direction(self) -> None:
        """A photo of two halves: places of the same half ask for the same, and not for that of the other half."""
        model = shared()
        photo = np.zeros((24, 24, 3), np.uint8)
        photo[:, 12:] = 255
        result = activation_grid(model, photo, "second", steps=30, size=16, most=4)
        assert result.cells.shape == (4, 4, 16, 16, 3)
        x = torch.from_numpy(result.cells.reshape(16, 16, 16, 3)).permute(0, 3, 1, 2) / 255 - 0.5
        photo_x = model.preprocess(photo)
        with torch.no_grad(), viztool.capture(model.net, "second") as acts:
            model.net(x)
            model.net(photo_x)
        cells = acts.calls("second")[0].mean((2, 3))
        places = torch.nn.functional.adaptive_avg_pool2d(acts.calls("second")[1], 4)[0].flatten(1).T
        score = torch.nn.functional.normalize(cells, dim=1) @ torch.nn.functional.normalize(places, dim=1).T
        own = score.diagonal().mean()
        other = torch.cat([score[i, [j for j in range(16) if (j % 4 < 2) != (i % 4 < 2)]] for i in range(16)]).mean()
        assert own > other + 0.04
        np.testing.assert_allclose(result.strength, places.norm(dim=1).view(4, 4).numpy(), rtol=1e-4)
        assert result.picture().shape[1] == 1340
        json.dumps(result.numbers, allow_nan=False)
