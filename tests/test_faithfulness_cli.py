"""`viztool evaluate`: a table and one picture over many photos, past what fails."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import viztool
from viztool.cli.evaluate import evaluate
from viztool.cli.judge import Run
from viztool.images import write_image

TINY_NET = """
import torch
from torch import nn


def build():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 6, 3, stride=2, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4),
    )


def no_head():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=4, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 16, 8), nn.Linear(8, 4)
    )
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with three small photos in `photos`, and small networks."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in "abc":
        write_image(f"photos/{name}.png", rng.integers(0, 256, (20, 24, 3), np.uint8))
    Path("nets.py").write_text(TINY_NET)
    return tmp_path


def run(*arguments, model="nets.py:build"):
    fast = ("-m", model, "--size", "16", "--steps", "4")
    return CliRunner().invoke(evaluate, [str(argument) for argument in (*arguments, *fast)])


class TestOutput:
    def test_a_table_and_one_picture(self, folder):
        result = run("photos", "--method", "gradcam", "--method", "random", "--method", "hirescam")
        assert (result.exit_code, result.stderr) == (0, "")
        *table, path = result.output.splitlines()
        assert path == "photos_evaluate.png"
        assert table[0].split()[:3] == ["method", "photos", "gain"]
        assert sorted(line.split()[0] for line in table[1:]) == ["(random", "gradcam", "hirescam", "random"]
        assert [line.split()[1] for line in table[1:-1]] == ["3"] * 3
        assert viztool.read_image(path).shape[1] == 1340
        assert {path.name for path in folder.iterdir()} - {"__pycache__"} == {
            "photos",
            "nets.py",
            "photos_evaluate.png",
        }

    def test_the_manifest_holds_every_number(self, folder):
        result = run("photos", "--method", "gradcam", "--method", "eigencam", "--json")
        manifest = json.loads(result.stdout)
        assert (manifest["command"], manifest["errors"]) == ("evaluate", [])
        (entry,) = manifest["results"]
        assert entry["files"] == ["photos_evaluate.png"]
        assert [photo["source"] for photo in entry["photos"]] == ["a.png", "a.png", "b.png", "b.png", "c.png", "c.png"]
        for method in entry["methods"]:
            gains = [photo["gain"] for photo in entry["photos"] if photo["method"] == method["method"]]
            assert method["gain"]["mean"] == pytest.approx(np.mean(gains))
            assert method["gain"]["standard_error"] == pytest.approx(np.std(gains, ddof=1) / 3**0.5)
        gains = [method["gain"]["mean"] for method in entry["methods"]]
        assert gains == sorted(gains, reverse=True)

    def test_it_is_what_the_library_finds(self, folder):
        from viztool.cam import class_activation_map
        from viztool.faithfulness import evaluate_heatmap

        entry = json.loads(run("photos/b.png", "--method", "layercam", "--target", "2", "--json").stdout)
        model = viztool.load_model("nets.py:build", size=16)
        photo = viztool.read_image("photos/b.png")
        heatmap = class_activation_map(model, photo, "layercam", 2, source="b.png")
        found = evaluate_heatmap(model, photo, heatmap, steps=4, draws=2)
        (shown,) = entry["results"][0]["photos"]
        assert shown["target"] == "class 2"
        assert shown["insertion"] == pytest.approx(float(found.insertion))
        assert shown["random"]["road"] == pytest.approx(float(found.scores["road"].random.mean()))

    def test_seeds_repeat(self, folder):
        first, again = (run("photos", "--method", "gradcam", "--json", "--force").stdout for _ in range(2))
        assert first == again

    def test_npz_and_quiet(self, folder):
        result = run("photos", "--method", "gradcam", "--npz", "-q", "-o", "out")
        assert (result.exit_code, result.output) == (0, "")
        with np.load("out/photos_evaluate.npz") as saved:
            assert saved["gradcam/deletion"].shape == (3, 5)
        assert Path("out/photos_evaluate.png").is_file()

    def test_one_photo_has_no_errors_and_gives_its_name(self, folder):
        result = run("photos/a.png", "--method", "gradcam")
        assert result.exit_code == 0
        assert "±" not in result.output.splitlines()[1]
        assert result.output.splitlines()[-1] == "a_evaluate.png"


class TestFailures:
    def test_existing_files_are_kept_unless_forced(self, folder):
        Path("photos_evaluate.png").write_text("mine")
        result = run("photos", "--method", "gradcam")
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == (
            "Error: photos_evaluate.png exists; use --force to replace it or -o to write elsewhere\n"
        )
        assert Path("photos_evaluate.png").read_text() == "mine"
        assert run("photos", "--method", "gradcam", "--force").exit_code == 0

    def test_a_broken_photo_does_not_stop_the_others(self, folder):
        Path("photos/aa.png").write_bytes(Path("photos/a.png").read_bytes()[:100])
        result = run("photos", "--method", "gradcam", "--json")
        assert result.exit_code == 1
        manifest = json.loads(result.stdout)
        assert [error["source"] for error in manifest["errors"]] == ["photos/aa.png"]
        assert [photo["source"] for photo in manifest["results"][0]["photos"]] == ["a.png", "b.png", "c.png"]
        assert "aa.png" in result.stderr

    def test_a_method_that_the_network_does_not_allow_is_left_out(self, folder):
        result = run("photos", "--method", "cam", "--method", "gradcam", model="nets.py:no_head")
        assert result.exit_code == 0
        assert result.stderr.startswith("left out: cam: ")
        assert result.stderr.count("\n") == 1
        assert [line.split()[0] for line in result.stdout.splitlines()[1:-2]] == ["gradcam"]

    def test_no_method_that_the_network_allows(self, folder):
        result = run("photos", "--method", "cam", model="nets.py:no_head")
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith("Error: cam: ")
        assert not Path("photos_evaluate.png").exists()

    def test_an_unknown_method_is_wrong_usage(self, folder):
        result = run("photos", "--method", "gradcm")
        assert result.exit_code == 2
        assert "no method is called 'gradcm'; there are: gradcam" in result.stderr

    def test_an_unknown_class(self, folder):
        result = run("photos", "--method", "gradcam", "--target", "9")
        assert result.exit_code == 2
        assert "class 9 is not one of the network's 4 classes, 0 to 3" in result.stderr


class TestWorkers:
    ASKED = ("photos", "--method", "gradcam", "--method", "integrated_gradients", "--json")

    def numbers(self, *arguments):
        result = run(*self.ASKED, *arguments)
        return result, json.loads(result.stdout)

    def test_any_number_finds_the_same_and_leaves_nothing(self, folder):
        Path("photos/d.png").write_text("no picture")
        one, two = (self.numbers("--workers", count, "-o", f"{count}.png") for count in ("1", "2"))
        here = self.numbers("-o", "here.png")
        for result, told in (one, two, here):
            assert result.exit_code == 1
            assert [error["source"] for error in told["errors"]] == ["photos/d.png"]
            assert told["errors"][0]["error"].startswith("photos/d.png is text")
            for found in told["results"]:
                found.pop("files")
        assert one[1] == two[1]
        own, shared = (told["results"][0]["photos"] for told in (here[1], one[1]))
        assert [(each["source"], each["method"]) for each in shared] == [
            (each["source"], each["method"]) for each in own
        ]
        assert [each["gain"] for each in shared] == pytest.approx([each["gain"] for each in own], abs=1e-5)
        assert sorted(path.name for path in folder.iterdir() if path.name.startswith(".")) == []

    def test_an_interrupted_run_goes_on_and_looks_again_at_what_has_changed(self, folder, monkeypatch):
        whole = self.numbers("--workers", "1", "-o", "whole.png")[1]["results"][0]["photos"]
        judge, judged = Run.judge, []

        class Here:
            """As `Here`, but ended after two photos."""

            left = 2

            def run(self, task, wanted):
                for bounds in wanted:
                    if not Here.left:
                        raise KeyboardInterrupt
                    Here.left -= 1
                    task.work(bounds)
                    yield bounds

        def noted(self, job):
            judged.append(job.source)
            return judge(self, job)

        monkeypatch.setattr(Run, "judge", noted)
        monkeypatch.setattr("viztool.atlas.engines.find_engine", lambda workers: Here())
        assert run(*self.ASKED, "--workers", "1").exit_code != 0
        assert judged == ["a.png", "b.png"]
        write_image("photos/a.png", viztool.read_image("photos/b.png"))
        Here.left = 9
        _, told = self.numbers("--workers", "1")
        assert judged == ["a.png", "b.png", "a.png", "c.png"]
        found = told["results"][0]["photos"]
        assert found[2:] == whole[2:]  # b and c; what is a now is b
        assert [each["gain"] for each in found[:2]] == [each["gain"] for each in whole[2:4]]

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (("photos", "--workers", "0"), "workers is 0; give a number of processes"),
            (("-", "--workers", "2"), "a photo from standard input cannot be sent to --workers"),
        ],
    )
    def test_what_cannot_be_is_wrong_usage(self, folder, arguments, says):
        result = run(*arguments)
        assert result.exit_code == 2
        assert says in result.stderr
