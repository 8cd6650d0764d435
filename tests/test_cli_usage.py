"""Wrong usage is said before the first photo, once, with exit code 2; and what is left out is said."""

import json
import subprocess
import sys
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import viztool
from viztool.cli import main
from viztool.cli.expected import Pace, in_words
from viztool.images import read_mark, write_image

NET = ("-m", "nets.py:build", "--size", "32")


def run(*arguments, **kwargs):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], **kwargs)


@pytest.fixture
def folder(desk):
    """Three photos in `photos`."""
    for name in "abc":
        write_image(f"photos/{name}.png", np.random.default_rng(ord(name)).integers(0, 256, (40, 50, 3), np.uint8))
    return desk


class TestBeforeTheFirstPhoto:
    @pytest.mark.parametrize(
        ("command", "message"),
        [
            (("cam", "--method", "nope"), "no method is called 'nope'; "),
            (("attribute", "--method", "nope"), "no attribution is called 'nope'; "),
            (("attribute", "--set", "nope=1"), "integrated_gradients has no option 'nope'; "),
            (("cam", "--target", "9"), "class 9 is not one of the network's 4 classes, 0 to 3"),
            (("cam", "--target", "cat"), "the classes have no names, so 'cat' cannot be found; "),
            (("attribute", "--target", "9"), "class 9 is not one of the network's 4 classes, 0 to 3"),
            (("evaluate", "--target", "9"), "class 9 is not one of the network's 4 classes, 0 to 3"),
            (("cam", "-l", "conv"), "no layer matches 'conv'; "),
            (("features", "-l", "conv"), "no layer matches 'conv'; "),
            (("evaluate", "-l", "conv"), "no layer matches 'conv'; "),
            (("dream", "-l", "conv"), "no layer matches 'conv'; "),
            (("explore", "-l", "conv"), "no layer matches 'conv'; "),
            (("atlas build", "-l", "conv", "-o", "my.atlas"), "no layer matches 'conv'; "),
            (("features", "--mean", "1,2"), "mean has 2 values, and the network takes 3 channels\n"),
            (("features", "-o", "sheet.txt"), "sheet.txt has the suffix .txt; a picture is written as .png, "),
        ],
    )
    def test_wrong_options_are_said_once(self, folder, command, message):
        photos = "photos" if "sheet.txt" not in command else "photo.png"
        name, *options = command
        result = run(*name.split(), photos, *options, *NET)
        assert result.exit_code == 2
        assert result.stdout == ""
        assert result.stderr.count("\n") == 1
        assert result.stderr.startswith(f"Error: {message}")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (("convolution", "--stride", "0"), "stride is 0; give one from 1 to 8"),
            (("sobel", "--ksize", "4"), "ksize is 4; OpenCV's Sobel has -1, 1, 3, 5, 7, and −1 is Scharr's"),
            (("sobel", "--kernel", "1 2; 3"), "row 2 of the kernel has 1 numbers and row 1 has 2; "),
            (("checkerboard", "--kernel", "11"), "kernel is 11; give one from 2 to 9"),
        ],
    )
    def test_so_are_those_of_a_demo(self, folder, options, message):
        name, *rest = options
        result = run("demo", name, "photo.png", "photos/a.png", *rest)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.startswith(f"Error: {message}")
        assert result.stderr.count("\n") == 1

    def test_channels_may_be_named_one_by_one(self, folder):
        rest = ("-l", "0", "--steps", "1", "--size", "16", "-m", "nets.py:build", "--json")
        found = [run("kernels", *rest, *options).stdout for options in [("-c", "1", "-c", "3-4"), ("-c", "1,3-4")]]
        one, other = (json.loads(each)["results"][0] for each in found)
        assert one == other
        assert [kernel["unit"] for kernel in one["kernels"]] == [1, 3, 4]

    def test_also_where_the_output_exists(self, folder):
        Path("photo_cam_nope.png").write_text("mine")
        Path("photo_cam.png").write_text("mine")
        assert run("cam", "photo.png", "--method", "nope", *NET).exit_code == 2
        assert run("cam", "photo.png", "--target", "9", *NET).exit_code == 2
        assert run("cam", "photo.png", *NET).exit_code == 1, "a file in the way is no wrong usage"

    @pytest.mark.parametrize(
        "command", [("kernels", "-l", "conv"), ("kernels", "--target", "9"), ("kernels", "-l", "0", "-c", "999")]
    )
    def test_of_kernels(self, folder, command):
        result = run(*command, "-m", "nets.py:build")
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1)

    @pytest.mark.parametrize("command", ["layers", "features photo.png", "explore photo.png"])
    def test_a_network_that_nobody_knows(self, folder, command):
        result = run(*command.split(), "-m", "nosuch")
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr == "Error: unknown network 'nosuch': `viztool models` lists what there is\n"

    @pytest.mark.parametrize("options", [("-l", "conv"), ("-l", "0", "-c", "999"), ("-l", "0", "-c", "x")])
    def test_of_an_atlas(self, folder, options):
        assert run("atlas", "build", "photos", "-l", "0", "-o", "my.atlas", *NET).exit_code == 0
        result = run("atlas", "show", "my.atlas", *options)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.count("\n") == 1

    def test_a_bad_photo_is_no_wrong_usage(self, folder):
        Path("photos/b.png").write_text("no picture")
        result = run("cam", "photos", "--target", "1", "--box", "0,0,50,40", *NET)
        assert result.exit_code == 1
        assert result.stdout.split() == ["a_cam.png", "c_cam.png"]


class TestCheck:
    @pytest.mark.parametrize(("quiet", "said"), [(False, 1), (True, 0)])
    def test_how_long_it_takes_is_said_once(self, folder, monkeypatch, quiet, said):
        monkeypatch.setattr("viztool.faithfulness.probe.seconds_of_evaluation", lambda *args, **kwargs: 110.0)
        result = run("cam", "photos", "--check", *NET, *(["-q"] if quiet else []))
        assert result.exit_code == 0
        assert result.stderr == "the check of each photo, 1 heatmap: about 2 min on this machine\n" * said


class TestBox:
    @pytest.mark.parametrize("box", ["0,0,51,40", "0,0,50,41", "60,0,70,10"])
    def test_it_lies_in_the_photo(self, folder, box):
        result = run("cam", "photos", "--box", box, *NET)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr == (
            f"Error: --box {box} does not lie in a.png, which is 50 × 40 pixels; it is LEFT,TOP,RIGHT,BOTTOM\n"
        )

    @pytest.mark.parametrize("box", ["-1,0,10,10", "10,0,10,10", "0,20,10,10"])
    def test_it_is_one(self, folder, box):
        result = run("attribute", "photo.png", "--box", box, *NET)
        assert result.exit_code == 2
        assert f"{box!r} is no box: 0 ≤ LEFT < RIGHT and 0 ≤ TOP < BOTTOM" in result.stderr

    def test_of_standard_input(self, folder):
        result = run("cam", "-", "--box", "0,0,51,40", *NET, input=Path("photo.png").read_bytes())
        assert result.exit_code == 1
        assert "does not lie in the photo, which is 50 × 40 pixels" in result.stderr


class TestNames:
    @pytest.mark.parametrize(
        ("options", "name"),
        [
            ((), "photo_cam.png"),
            (("--method", "Grad-CAM"), "photo_cam.png"),
            (("--method", "layercam"), "photo_cam_layercam.png"),
            (("--method", "gradcam", "--method", "hirescam"), "photo_cam_gradcam_hirescam.png"),
            (("--method", "all", "-l", "1"), "photo_cam_all.png"),
            (("--randomize", "weights", "--target", "1"), "photo_cam_randomized.png"),
        ],
    )
    def test_files_tell_the_method(self, folder, options, name):
        result = run("cam", "photo.png", *options, *NET)
        assert (result.exit_code, result.stdout) == (0, f"{name}\n")

    def test_many_are_counted(self, folder):
        methods = [word for name in viztool.attribution.METHODS[:4] for word in ("--method", name)]
        assert run("attribute", "photo.png", *methods, *NET).stdout == "photo_attribute_4_methods.png\n"

    def test_one_method_does_not_replace_what_another_drew(self, folder):
        assert run("cam", "photo.png", *NET).exit_code == 0
        before = Path("photo_cam.png").read_bytes()
        assert run("cam", "photo.png", "--method", "layercam", *NET).exit_code == 0
        assert Path("photo_cam.png").read_bytes() == before


class TestStandardOutput:
    @pytest.mark.parametrize(
        "command",
        [
            ("features", "photo.png", *NET),
            ("cam", "photo.png", *NET),
            ("attribute", "photo.png", "--method", "gradient", *NET),
            ("evaluate", "photo.png", "--method", "gradcam", "--steps", "2", *NET),
            ("demo", "inplace"),
            ("layers", *NET),
            ("kernels", "-l", "0", "-c", "0", "--steps", "2", "--size", "16", "-m", "nets.py:build"),
        ],
        ids=lambda command: command[0],
    )
    def test_is_the_picture_and_nothing_else(self, folder, command):
        before = set(folder.iterdir())
        result = run(*command, "-o", "-")
        assert result.exit_code == 0, result.output
        with Image.open(BytesIO(result.stdout_bytes)) as picture:
            picture.load()
            assert picture.format == "PNG"
        Path("piped.png").write_bytes(result.stdout_bytes)
        assert read_mark("piped.png") is not None, "it says how it was made, as any other"
        assert {path.name for path in set(folder.iterdir()) - before} <= {"piped.png", "__pycache__"}

    def test_is_a_film_of_a_demo_that_moves(self, folder):
        result = run("demo", "convolution", "--size", "3x3", "-o", "-")
        assert result.stdout_bytes.startswith(b"GIF89a")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (("--json",), "-o - writes the picture to standard output; leave --json out"),
            (("--npz",), "-o - writes the picture to standard output; leave --npz out"),
            (("photos",), "4 photos cannot go to standard output; give a folder with -o"),
        ],
    )
    def test_takes_one_thing(self, folder, options, message):
        result = run("features", "photo.png", *options, *NET, "-o", "-")
        assert result.exit_code == 2
        assert message in result.stderr

    def test_of_a_real_process(self, folder):
        command = [sys.executable, "-m", "viztool", "cam", "photo.png", *NET, "-o", "-"]
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.startswith(b"\x89PNG") and done.stdout.endswith(b"IEND\xaeB`\x82")


class TestFolders:
    def test_what_is_left_out_is_said(self, folder):
        Path("photos/more/deep").mkdir(parents=True)
        write_image("photos/more/deep/d.png", np.zeros((9, 9, 3), np.uint8))
        Path("photos/gone.png").symlink_to("nowhere.png")
        result = run("features", "photos", *NET)
        assert (result.exit_code, result.stdout.split()) == (0, [f"{name}_features.png" for name in "abc"])
        assert result.stderr.splitlines() == [
            "photos: left out a link that leads to nothing: gone.png",
            "photos: left out the folder inside; -r takes the pictures in there, too",
        ]
        result = run("features", "photos", "-r", *NET)
        assert result.stdout.split() == [f"{name}_features.png" for name in "abcd"]
        assert result.stderr.splitlines() == ["photos: left out a link that leads to nothing: gone.png"]

    def test_a_folder_without_pictures_is_not_worth_a_word(self, folder):
        Path("photos/notes").mkdir()
        Path("photos/notes/a.txt").write_text("words")
        assert run("features", "photos", *NET).stderr == ""


@dataclass
class Step:
    """As a `Progress`, what a pace looks at."""

    step: int
    steps: int
    indices: range
    total: int


class TestHowLong:
    @pytest.mark.parametrize(
        ("seconds", "words"),
        [(10.4, "10 s"), (42, "40 s"), (89, "90 s"), (212, "4 min"), (5400, "1 h 30 min"), (7200, "2 h")],
    )
    def test_in_words(self, seconds, words):
        assert in_words(seconds) == words

    def test_an_ascent_is_foretold_from_its_first_steps(self, capsys):
        times = iter([0.0, *np.arange(100) * 0.5])
        pace = Pace("blocks.4", clock=lambda: float(next(times)))
        for step in range(1, 8):  # 8 of 16 pictures together, the first step slow or not
            pace(Step(step, 256, range(8), 16))
        # From the second call on half a second a step: (16 / 8) × 256 steps.
        told = capsys.readouterr().err
        assert told == "blocks.4 (16 pictures): about 3 min on this machine\n"

    def test_what_takes_no_time_is_not_foretold(self, capsys):
        times = iter(np.arange(100) * 0.001)
        pace = Pace("blocks.4", clock=lambda: float(next(times)))
        for step in range(1, 8):
            pace(Step(step, 256, range(8), 16))
        assert capsys.readouterr().err == ""

    def test_pictures_of_the_gallery_share_the_cores(self, monkeypatch):
        from viztool.gallery import PIECES
        from viztool.gallery.expected import _QUICK, _SLOW, seconds_of

        monkeypatch.setattr("os.cpu_count", lambda: 2)
        quick = [piece for piece in PIECES if not piece.slow][:4]
        slow = [piece for piece in PIECES if piece.slow][:1]
        assert seconds_of(quick, lambda: 0.04) == pytest.approx(4 / 2 * _QUICK * 0.04)
        assert seconds_of(quick + slow, lambda: 0.04) == pytest.approx(_SLOW * 0.04), "the longest"
        assert seconds_of([], lambda: 0.04) == 0

    def test_an_evaluation_is_foretold(self, folder, monkeypatch):
        monkeypatch.setattr("viztool.cli.expected._WORTH_SAYING", 0)
        monkeypatch.setattr("viztool.faithfulness.probe.seconds_of_evaluation", lambda *args, **kwargs: 100)
        result = run("evaluate", "photos", "--method", "gradcam", "--method", "random", "--steps", "2", *NET)
        assert result.exit_code == 0
        assert result.stderr == "3 × 2 heatmaps: about 5 min on this machine\n"
        assert run("evaluate", "photos", "--method", "gradcam", "--steps", "2", "-q", *NET).stderr == ""

    def test_what_was_done_to_foretell_it_is_not_foretold(self, folder, monkeypatch):
        now = 0.0
        command = sys.modules["viztool.cli.judge"]
        original = command._explain

        def explain(*arguments):
            nonlocal now
            now += 60
            return original(*arguments)

        monkeypatch.setattr(command, "_explain", explain)
        monkeypatch.setattr(command, "time", SimpleNamespace(perf_counter=lambda: now))
        monkeypatch.setattr("viztool.faithfulness.probe.seconds_of_evaluation", lambda *args, **kwargs: 30)
        result = run("evaluate", "photos", "--method", "gradcam", "--steps", "2", *NET)
        assert result.stderr == "3 × 1 heatmaps: about 4 min on this machine\n"  # 2 × 60 + 3 × 30 s: of 3 photos

    def test_an_evaluation_shows_the_network_as_many_images_as_were_counted(self, folder):
        """The clock stands still but for the network, which takes a second for each image."""
        from torch import nn

        from viztool.faithfulness import evaluate_heatmap
        from viztool.faithfulness.probe import seconds_of_evaluation

        model, photo = viztool.load_model("nets.py:build", size=32), viztool.read_image("photo.png")
        heatmaps = [viztool.class_activation_map(model, photo, method) for method in ("gradcam", "eigencam", "random")]
        now = 0.0

        def tick(module: nn.Module, inputs: tuple) -> None:
            nonlocal now
            now += len(inputs[0])

        model.net.register_forward_pre_hook(tick)
        expected = seconds_of_evaluation(model, photo, heatmaps, steps=6, draws=3, clock=lambda: now)
        before = now
        evaluate_heatmap(model, photo, heatmaps, steps=6, draws=3)
        assert expected == pytest.approx(now - before, rel=0.02)
