"""The command line: one file for each photo, one line for each error, and exit codes that scripts can use."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import viztool
from viztool.cli import main
from viztool.errors import ImageError
from viztool.images import write_image
from viztool.images.marks import read_mark

CAT = Path(__file__).parents[1] / "gallery" / "inputs" / "cat.jpg"
TINY_NET = """
from torch import nn


def build():
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 3, stride=2, padding=1))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a small photo and a small network."""
    monkeypatch.chdir(tmp_path)
    photo = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    write_image("photo.png", photo)
    Path("nets.py").write_text(TINY_NET)
    return tmp_path


def run(*arguments, **kwargs):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], **kwargs)


def features(*arguments, **kwargs):
    return run("features", *arguments, "-m", "nets.py:build", "--size", "32", **kwargs)


class TestRealProcess:
    @staticmethod
    def viztool(*arguments, cwd):
        command = [sys.executable, "-m", "viztool", *map(str, arguments)]
        return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)

    def test_the_embedded_network_sees_a_cat(self, tmp_path):
        shutil.copy(CAT, tmp_path)
        done = self.viztool("features", "cat.jpg", "--json", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        result = json.loads(done.stdout)["results"][0]
        assert result["files"] == ["cat_features.png"]
        assert "cat" in result["predictions"][0]["class"]
        assert [layer["name"] for layer in result["layers"]] == ["blocks.0", "blocks.1", "blocks.2", "blocks.4", "bn2"]
        assert [path.name for path in tmp_path.iterdir() if path.name != "cat.jpg"] == ["cat_features.png"]
        assert viztool.read_image(tmp_path / "cat_features.png").shape[1] == 1340

    def test_an_error_is_one_line_and_exit_code_1(self, tmp_path):
        done = self.viztool("features", "no.jpg", cwd=tmp_path)
        assert done.returncode == 1
        assert done.stdout == ""
        assert done.stderr.startswith("Error: ")
        assert "no.jpg" in done.stderr
        assert done.stderr.count("\n") == 1

    @pytest.mark.parametrize("arguments", [["--help"], ["features", "--help"], ["--version"], ["models", "resnet50"]])
    def test_help_and_lists_do_not_wait_for_torch(self, arguments, tmp_path):
        code = (
            "import sys\nfrom viztool.cli import main\n"
            f"try: main({arguments!r})\nexcept SystemExit as end: code = end.code\n"
            "heavy = {'torch', 'torchvision', 'timm', 'cv2', 'matplotlib', 'numpy', 'rich'} & set(sys.modules)\n"
            "assert not heavy, heavy\nsys.exit(code)"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")

    def test_shell_completion_of_models(self, tmp_path):
        environment = {
            **os.environ,
            "_VIZTOOL_COMPLETE": "bash_complete",
            "COMP_WORDS": "viztool features -m resnet1",
            "COMP_CWORD": "3",
        }
        script = Path(sys.executable).with_name("viztool")
        done = subprocess.run([script], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.stdout.split() == ["plain,resnet101", "plain,resnet152", "plain,resnet18"]


class TestFiles:
    def test_it_says_which_file_it_wrote_and_writes_no_other(self, folder):
        result = features("photo.png")
        assert (result.exit_code, result.output) == (0, "photo_features.png\n")
        assert {path.name for path in folder.iterdir()} == {"photo.png", "nets.py", "photo_features.png"} | {
            path.name for path in folder.glob("__pycache__")
        }

    def test_existing_files_are_kept_unless_forced(self, folder):
        Path("photo_features.png").write_text("mine")
        result = features("photo.png")
        assert result.exit_code == 1
        assert result.stderr == (
            "Error: photo.png: photo_features.png exists; use --force to replace it or -o to write elsewhere\n"
        )
        assert Path("photo_features.png").read_text() == "mine"
        assert features("photo.png", "--force").exit_code == 0
        assert viztool.read_image("photo_features.png").shape[1] == 1340

    def test_the_photo_itself_is_never_replaced(self, folder):
        before = Path("photo.png").read_bytes()
        result = features("photo.png", "-o", "photo.png", "--force")
        assert result.exit_code == 1
        assert result.stderr == "Error: photo.png is the photo itself; write elsewhere with -o\n"
        assert Path("photo.png").read_bytes() == before

    def test_output_is_a_file_or_a_folder(self, folder):
        assert features("photo.png", "-o", "deep/er/sheet.jpg").output == "deep/er/sheet.jpg\n"
        assert features("photo.png", "-o", "out/").output == "out/photo_features.png\n"
        assert features("photo.png", "-o", "out", "--force").output == "out/photo_features.png\n"

    def test_photos_of_one_name_do_not_write_over_each_other(self, folder):
        for name in ("a", "b"):
            Path(name).mkdir()
            shutil.copy("photo.png", name)
        result = features("a", "b")
        assert result.output.split() == ["photo_features.png", "photo-2_features.png"]

    def test_several_photos_do_not_go_into_one_file(self, folder):
        shutil.copy("photo.png", "other.png")
        result = features("photo.png", "other.png", "-o", "sheet.png")
        assert result.exit_code == 2
        assert "2 photos cannot go into the one file sheet.png; give a folder with -o" in result.stderr

    def test_standard_input(self, folder):
        result = features("-", input=Path("photo.png").read_bytes())
        assert (result.exit_code, result.output) == (0, "stdin_features.png\n")

    def test_npz_beside_the_picture(self, folder):
        result = features("photo.png", "--npz", "-l", "2")
        assert result.output.split() == ["photo_features.png", "photo_features.npz"]
        with np.load("photo_features.npz") as saved:
            assert {name: saved[name].shape for name in saved.files} == {"2": (6, 16, 16)}

    def test_an_existing_npz_is_kept_too(self, folder):
        Path("photo_features.npz").write_text("mine")
        result = features("photo.png", "--npz")
        assert result.exit_code == 1
        assert not Path("photo_features.png").exists()
        assert Path("photo_features.npz").read_text() == "mine"


class TestBatch:
    def test_one_bad_photo_does_not_stop_the_others(self, folder):
        Path("bad.png").write_bytes(b"not a picture")
        shutil.copy("photo.png", "zebra.png")
        result = features("bad.png", "photo.png", "zebra.png", "gone.png")
        assert result.exit_code == 1
        assert result.stdout.split() == ["photo_features.png", "zebra_features.png"]
        lines = result.stderr.splitlines()
        assert len(lines) == 3
        assert lines[0].startswith("Error: ")
        assert "bad.png" in lines[0]
        assert "gone.png" in lines[1]
        assert lines[2] == "2 done, 2 not: bad.png, gone.png"

    def test_a_folder_gives_its_pictures(self, folder):
        shutil.copy("photo.png", "img10.png")
        shutil.copy("photo.png", "img2.png")
        Path("notes.txt").write_text("not a photo")
        assert features(".", "-o", "out").output.split() == [
            "out/img2_features.png",
            "out/img10_features.png",
            "out/photo_features.png",
        ]

    def test_the_manifest_holds_results_and_errors_and_nothing_else_is_printed(self, folder):
        result = features("photo.png", "gone.png", "--json", "-l", "re:[02]")
        manifest = json.loads(result.stdout)
        assert result.exit_code == 1
        assert manifest["command"] == "features"
        assert [layer["name"] for layer in manifest["results"][0]["layers"]] == ["0", "2"]
        assert manifest["results"][0]["files"] == ["photo_features.png"]
        assert [error["source"] for error in manifest["errors"]] == ["gone.png"]

    def test_quiet_prints_nothing(self, folder):
        result = features("photo.png", "-q")
        assert (result.exit_code, result.output) == (0, "")

    def test_verbose_describes_on_stderr(self, folder):
        result = features("photo.png", "-v", "-l", "0")
        assert result.stdout == "photo_features.png\n"
        assert "0: 4 × 32 × 32, 0 dead" in result.stderr


class TestErrors:
    def test_unknown_layer(self, folder):
        result = features("photo.png", "-l", "layer4")
        assert result.exit_code == 2
        assert "no layer matches 'layer4'; nearest: 0, 1, 2" in result.stderr
        assert not Path("photo_features.png").exists()

    def test_unknown_network(self, folder):
        result = run("features", "photo.png", "-m", "resnet5O")
        assert result.exit_code == 2
        assert result.stderr.count("\n") == 1
        assert "resnet50" in result.stderr

    @pytest.mark.parametrize(
        "arguments",
        [[], ["photo.png", "--top", "0"], ["photo.png", "--normalize", "all"], ["photo.png", "--mean", "x"]],
    )
    def test_wrong_usage_is_exit_code_2(self, folder, arguments):
        assert run("features", *arguments).exit_code == 2

    def test_what_nobody_expected_is_one_line_too(self, folder):
        Path("nets.py").write_text("def build():\n    raise RuntimeError('boom\\nbang')\n")
        result = features("photo.png")
        assert result.exit_code == 1
        assert result.stderr.count("\n") == 1
        assert "boom" in result.stderr

    def test_debug_shows_the_traceback(self, folder):
        result = features("gone.png", "--debug")
        assert result.exit_code == 1
        assert isinstance(result.exception, viztool.ViztoolError)


class TestOptions:
    def test_overlay_all_and_normalize_reach_the_picture(self, folder):
        result = features("photo.png", "--json", "--overlay", "--all", "--normalize", "layer", "--top", "1")
        numbers = json.loads(result.stdout)["results"][0]
        assert (numbers["overlay"], numbers["normalize"]) == (True, "layer")
        assert [len(layer["channels"]) for layer in numbers["layers"]] == [4, 6]

    def test_the_seed_decides_random_weights(self, folder):
        def sd(seed):
            result = features("photo.png", "--json", "--force", "--seed", seed)
            return json.loads(result.stdout)["results"][0]["layers"][0]["channels"][0]["sd"]

        assert sd(1) == sd(1) != sd(2)


class TestLayers:
    def test_the_table(self, folder):
        result = run("layers", "-m", "nets.py:build", "--size", "32")
        assert result.exit_code == 0
        lines = result.stdout.splitlines()
        assert lines[0].split()[:2] == ["layer", "type"]
        assert lines[1].split()[:10] == ["0", "Conv2d", "1", "×", "4", "×", "32", "×", "32", "112"]
        assert lines[-1].split()[0] == "total"

    def test_json(self, folder):
        result = run("layers", "-m", "nets.py:build", "--size", "32", "--json")
        rows = json.loads(result.stdout)["layers"]
        assert [row["name"] for row in rows] == ["0", "1", "2"]
        assert rows[2]["receptive_field"]["size"] == [5, 5]
        assert rows[0]["macs"] == 32 * 32 * 4 * 27

    def test_a_network_by_name_downloads_nothing(self, monkeypatch):
        def refuse(*_args, **_kwargs):
            raise AssertionError("the network was asked for")

        monkeypatch.setattr("socket.socket.connect", refuse)
        result = run("layers", "-m", "resnet18", "--depth", "1")
        assert result.exit_code == 0
        assert "layer4" in result.stdout


class TestModels:
    def test_a_pattern_finds_names_of_every_source(self):
        result = run("models", "*efficientnet_lite0")
        assert result.stdout.split("\n")[0].split() == ["tf_efficientnet_lite0", "classification", "embedded"]
        assert "timm/efficientnet_lite0" in result.stdout

    def test_json(self):
        entries = json.loads(run("models", "deeplabv3_*", "--json").stdout)
        assert {(entry["source"], entry["task"]) for entry in entries} == {("torchvision", "segmentation")}
        assert len(entries) == 3

    def test_no_match(self):
        result = run("models", "resnet5O")
        assert result.exit_code == 1
        assert result.stderr.startswith("Error: no network matches 'resnet5O'")


def test_progress_stays_off_a_pipe(folder):
    shutil.copy("photo.png", "other.png")
    result = features("photo.png", "other.png")
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--size", "0"), "size must be at least 1 × 1, got 0 × 0"),
        (("--size", "99999"), "size must be at most 8192 × 8192, got 99999 × 99999"),
        (("--size", "1,2,3"), "size must be a whole number of pixels or (height, width), got (1, 2, 3)"),
        (("--std", "0"), "std must be above 0 in every channel, got 0"),
        (("--device", "abacus"), "unknown device 'abacus': use auto, cpu, cuda or mps"),
    ],
)
def test_a_setting_that_cannot_be_is_wrong_usage(arguments, message):
    photo = Path(__file__).parents[1] / "gallery" / "inputs" / "cat.jpg"
    result = CliRunner().invoke(main, ["features", str(photo), *arguments])
    assert result.exit_code == 2
    assert result.stderr == f"Error: {message}\n"


class TestSideBySide:
    def test_results_come_in_the_order_of_the_jobs_and_errors_in_their_place(self):
        from viztool.cli.batch import Job, _side_by_side

        jobs = [Job(str(number), Path(f"{number}.png")) for number in range(7)]
        alive, most = set(), 0

        def look(job):
            nonlocal most
            if job.photo == "2":
                raise ValueError("unreadable")
            alive.add(job.photo)
            most = max(most, len(alive))
            return job.photo

        def write(job, result):
            time.sleep(0.05 if job.photo == "0" else 0)
            alive.discard(result)
            if job.photo == "4":
                raise OSError("no room")
            return f"{result} written by {threading.current_thread() is not threading.main_thread()}"

        said = []
        for job, outcome in _side_by_side(iter(jobs), look, write):
            try:
                said.append((job.photo, outcome()))
            except (ValueError, OSError) as error:
                said.append((job.photo, str(error)))
        wanted = [(str(number), f"{number} written by True") for number in range(7)]
        wanted[2], wanted[4] = ("2", "unreadable"), ("4", "no room")
        assert said == wanted
        assert most <= 4  # results wait in memory

    def test_the_next_photo_is_read_meanwhile(self, monkeypatch):
        from viztool.cli.batch import Job, _read_ahead

        begun = {name: threading.Event() for name in "abc"}

        def read(path):
            begun[path].set()
            if path == "b":
                raise ImageError("b is no picture")
            return path.upper()

        monkeypatch.setattr("viztool.images.read_image", read)
        seen = []
        for job in _read_ahead([Job(name, Path(f"{name}.png")) for name in begun]):
            following = begun.get(chr(ord(job.photo) + 1))
            assert following is None or following.wait(10)
            try:
                seen.append(job.read())
            except ImageError as error:  # in its own turn, not in that of the photo before
                seen.append(str(error))
        assert seen == ["A", "b is no picture", "C"]

    def test_what_is_written_in_threads_says_its_command(self, folder):
        features("photo.png")
        assert read_mark("photo_features.png").command.startswith("viztool features photo.png")
