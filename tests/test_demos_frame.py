"""The frame of all demos: how one is added, how it fails, and that it prints no number that it does not give."""

import json
import re
import shlex
import subprocess
import sys
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from torch import nn

import viztool
from viztool.cli import main
from viztool.demos import CLAIMS, DemoError, WrongNumberError, demos, registry, run_demo
from viztool.demos.photo import as_photo, reference_photo
from viztool.demos.story import Story, plain
from viztool.images import write_image
from viztool.registry import Registry
from viztool.render.panels import Words
from viztool.render.text import BODY, draw_text

FAST = [one.name for one in demos().values() if not one.trains]


@pytest.fixture(scope="session")
def told():
    """Every demo that trains nothing, told once on the reference photo."""
    results = {}

    def tell(name):
        if name not in results:
            results[name] = run_demo(name)
        return results[name]

    return tell


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def body(drawing):
    """All of an SVG but how it was made, which has the name of the file."""
    return re.sub(r"<metadata.*?</metadata>", "", drawing, flags=re.DOTALL)


def only(monkeypatch, names):
    """As if there were only these demos; what is added is forgotten after the test."""
    few = Registry("demo", DemoError)
    for name in names:
        few.add(name, demos()[name])
    monkeypatch.setattr(registry, "_demos", few)


def leaves(value):
    if isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield float(value)


NUMBER = re.compile(r"−?\d+(?:,\d{3})*(?:\.\d+)?(?:e[−+-]?\d+)?(?:\s?%)?")


def appears(text, known):
    """Whether one of the known numbers is written like this."""
    plain_text = text.replace("−", "-").replace(",", "").replace(" ", "")
    share = plain_text.endswith("%")
    mantissa, _, exponent = plain_text.rstrip("%").partition("e")
    digits = len(mantissa.partition(".")[2])
    value = float(mantissa) * 10 ** int(exponent or 0)
    unit = 10.0 ** (int(exponent or 0) - digits)
    scale = 100 if share else 1
    return bool(np.any(np.abs(np.abs(known * scale) - abs(value)) <= 0.501 * unit + 1e-9 * abs(value)))


@pytest.mark.parametrize("name", FAST)
class TestEveryDemo:
    def test_every_measured_number_that_it_prints_is_in_its_numbers(self, name, told):
        result = told(name)
        known = np.array(sorted(set(leaves(result.numbers))))
        missing = [
            (word, text)
            for word in result.words
            for text in NUMBER.findall(word)
            if ("." in text or "e" in text or "%" in text or "," in text) and not appears(text, known)
        ]
        assert missing == []

    def test_it_has_checks_a_verdict_and_a_panel_on_where_it_fails(self, name, told):
        result = told(name)
        assert result.story.checks
        assert all(claim.demo == name for claim in result.claims)
        assert [band.title for band in result.story.bands if band.fails] == ["When this fails"]
        assert json.loads(json.dumps(result.numbers, allow_nan=False))["demo"] == name

    def test_its_picture_is_a_sheet_with_room_for_all_of_it(self, name, told):
        picture = told(name).picture()
        assert picture.dtype == np.uint8
        assert picture.shape[1:] == (1340, 3)
        assert (picture[:, :26] == 255).all(), "something stands in the margin"
        assert (picture[:, -36:] == 255).all(), "something is cut off at the right"

    def test_the_font_has_every_character_that_it_writes(self, name, told):
        """For one that it lacks, it draws a question mark."""
        result = told(name)
        texts = [*result.words, result.title, *result.story.notes]
        texts += [text for claim in result.claims for text in (claim.sentence, claim.condition)]
        unusual = {character for text in texts for character in text if not character.isascii()}
        assert {character for character in unusual if drawn(character) == drawn("?")} == set()


def drawn(text):
    page = np.full((40, 60, 3), 255, np.uint8)
    draw_text(page, text, 10, 28, BODY)
    return page.tobytes()


class TestClaims:
    def test_there_are_33_each_with_one_demo(self):
        assert list(CLAIMS) == list(range(1, 34))
        for number, claim in CLAIMS.items():
            assert claim.number == number
            assert claim.verdict in ("true", "conditional", "false")
            assert claim.sentence.endswith(".")
            assert claim.zh.endswith("。")
            assert claim.condition.endswith(".")

    def test_the_verdicts(self):
        false = [number for number, claim in CLAIMS.items() if claim.verdict == "false"]
        true = [number for number, claim in CLAIMS.items() if claim.verdict == "true"]
        assert false == [10, 13, 18, 19, 32]
        assert true == [8, 12, 14, 24, 25, 26, 33]


class TestFrame:
    def test_a_demo_is_one_function(self, monkeypatch):
        only(monkeypatch, demos())

        @registry.demo("toy", "Is one one?", claims=[])
        def toy(photo, seed, *, wanted=1):
            story = Story()
            story.equal("one", 1, wanted)
            story.when_this_fails([], Words(["never"]))
            return story

        assert run_demo("toy").numbers["checks"] == [{"what": "one", "found": 1, "expected": "1"}]
        with pytest.raises(WrongNumberError, match=r"^toy: one: expected 2, found 1$"):
            run_demo("toy", wanted=2)
        with pytest.raises(DemoError, match=r"^toy has no option 'wnted'; it has wanted$"):
            run_demo("toy", wnted=2)

    def test_two_of_one_name_or_claim_are_refused(self, monkeypatch):
        only(monkeypatch, demos())
        with pytest.raises(ValueError, match="there is a demo 'sobel' already"):
            registry.demo("sobel", "?", claims=[])(lambda photo, seed: Story())
        with pytest.raises(ValueError, match="claim 30 is shown by 'sobel' already"):
            registry.demo("flat", "?", claims=[30])(lambda photo, seed: Story())

    def test_a_new_file_is_found_by_being_there(self, tmp_path):
        (tmp_path / "new_one.py").write_text(
            "from viztool.demos.registry import demo\n"
            "from viztool.demos.story import Story\n"
            "@demo('new-one', 'New?', claims=[])\n"
            "def new_one(photo, seed):\n    return Story()\n"
        )
        code = (
            "import pkgutil\n"
            "found = pkgutil.iter_modules\n"
            f"folder = {str(tmp_path)!r}\n"
            "def also(path=None, prefix=''):\n"
            "    if path and str(path[0]).endswith('concepts'):\n"
            "        path.append(folder)\n"
            "    return found(path, prefix)\n"
            "pkgutil.iter_modules = also\n"
            "import viztool.demos\n"
            "print('new-one' in viztool.demos.demos())"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert (done.stderr, done.stdout) == ("", "True\n")

    @pytest.mark.parametrize(
        ("check", "arguments", "message"),
        [
            ("equal", (3, 4), "x: expected 4, found 3"),
            ("near", (1.0, 2.0, 0.5), r"x: expected 2 ± 0.5, found 1"),
            ("near", (float("nan"), 2.0, 0.5), r"x: expected 2 ± 0.5, found nan"),
            ("below", (3.0, 2.0), "x: expected at most 2, found 3"),
            ("above", (1.0, 2.0), "x: expected at least 2, found 1"),
        ],
    )
    def test_a_wrong_number_is_named_with_what_was_expected(self, check, arguments, message):
        with pytest.raises(WrongNumberError, match=f"^{message}$"):
            getattr(Story(), check)("x", *arguments)

    def test_right_numbers_are_kept(self):
        story = Story()
        story.near("a", 1.0, 1.1, 0.2)
        story.below("b", 1, 1)
        story.above("c", 1, 1)
        assert [check["what"] for check in story.checks] == ["a", "b", "c"]

    def test_numbers_become_what_json_knows(self):
        given = {1: np.float32(2), "a": (np.arange(2), float("inf"), True)}
        assert plain(given) == {"1": 2.0, "a": [[0, 1], "inf", True]}

    def test_an_unknown_demo_gets_the_nearest_names(self):
        with pytest.raises(DemoError, match=r"^no demo is called 'checkboard'; nearest: checkerboard$"):
            run_demo("checkboard")

    def test_the_seed_decides(self):
        once, again, other = (run_demo("maxpool-noise", seed=seed).numbers["psnr"] for seed in (0, 0, 1))
        assert once == again
        assert once != other


class TestPhoto:
    def test_the_default_is_the_one_that_the_numbers_are_of(self):
        photo = as_photo(None)
        assert photo.source == "grace_hopper.jpg"
        assert photo.rgb.shape == (600, 512, 3)
        assert photo.is_reference

    def test_a_pixel_is_not_enough(self):
        with pytest.raises(
            DemoError, match=r"^the photo is 1 × 1 pixels, and a demo needs at least 32 × 32; give a larger one$"
        ):
            run_demo("sobel", np.zeros((1, 1, 3), np.uint8))

    def test_large_ones_are_shrunk_and_it_says_so(self):
        photo = as_photo(np.zeros((1000, 2000, 3), np.uint8))
        assert photo.rgb.shape == (320, 640, 3)
        assert photo.size == "640 × 320, shrunk from 2000 × 1000"
        assert not photo.is_reference

    def test_what_is_no_photo(self):
        with pytest.raises(DemoError, match=r"^a photo is uint8 RGB \(H, W, 3\), not float64 \(40, 40\); "):
            run_demo("sobel", np.zeros((40, 40)))

    @pytest.mark.parametrize("name", FAST)
    def test_every_demo_takes_a_photo_in_which_nothing_is_and_one_of_noise(self, name):
        for photo in (
            np.full((40, 33, 3), 255, np.uint8),
            np.random.default_rng(0).integers(0, 256, (33, 70, 3), np.uint8),
        ):
            result = run_demo(name, photo)
            assert result.picture().shape[1] == 1340
            json.dumps(result.numbers, allow_nan=False)


class TestCommandLine:
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        write_image("cat.png", reference_photo().rgb[:64, :64])
        return tmp_path

    def test_help_does_not_wait_for_torch(self):
        code = (
            "import sys\nfrom viztool.cli import main\n"
            "try: main(['demo', '--help'])\nexcept SystemExit: pass\n"
            "print(sorted({'torch', 'cv2', 'numpy'} & set(sys.modules)))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.stdout.splitlines()[-1] == "[]"

    def test_all_go_into_a_folder(self, monkeypatch):
        only(monkeypatch, ("sobel", "convolution", "inplace"))
        result = run("demo", "--all", "-o", "out")
        assert (result.exit_code, result.output) == (0, "out/convolution.gif\nout/sobel.png\nout/inplace.png\n")

    def test_one_that_fails_does_not_stop_the_others(self, monkeypatch):
        only(monkeypatch, ("sobel", "inplace"))
        Path("sobel.png").write_text("mine")
        result = run("demo", "--all")
        assert result.exit_code == 1
        assert result.stdout == "inplace.png\n"
        assert "1 done, 1 not: sobel" in result.stderr
        assert Path("sobel.png").read_text() == "mine"

    def test_without_a_name_it_lists_them_all(self):
        result = run("demo")
        assert result.exit_code == 0
        assert "maxpool-noise\n  18 false       Max pooling after Sobel removes flat parts and noise." in result.output
        assert all(name in result.output for name in demos())

    def test_the_list_as_json_is_in_chinese_too(self):
        claims = json.loads(run("demo", "--json").output)
        assert claims["18"]["demo"] == "maxpool-noise"
        assert claims["18"]["zh"] == CLAIMS[18].zh

    def test_one_photo_one_file(self, folder):
        result = run("demo", "sobel", "cat.png")
        assert (result.exit_code, result.output) == (0, "cat_sobel.png\n")
        assert viztool.read_image("cat_sobel.png").shape[1] == 1340
        assert run("demo", "sobel", "cat.png").output == "cat_sobel.png\n", "its own is replaced"
        Path("cat_sobel.png").write_bytes(Path("cat.png").read_bytes())
        again = run("demo", "sobel", "cat.png")
        assert again.exit_code == 1
        assert "cat_sobel.png exists; use --force to replace it or -o to write elsewhere" in again.stderr

    def test_without_a_photo_it_takes_its_own(self, folder):
        result = run("demo", "sobel", "--json", "-o", "out/s.png")
        manifest = json.loads(result.stdout)["results"][0]
        assert manifest["files"] == ["out/s.png"]
        assert manifest["subject"] == "grace_hopper.jpg · 512 × 600"

    @pytest.mark.parametrize(
        "arguments",
        [
            ["checkerboard"],
            ["checkerboard", "--kernel", "4", "--stride", "3"],
            ["convolution", "--size", "5x6", "--transposed", "--slide"],
            ["sobel", "cat.png", "--kernel", "1 0 -1; 2 0 -2; 1 0 -1"],
            ["counting", "--model", "nets.py:build", "--size", "40", "--mean", "0.5", "--slide"],
            ["activations", "cat.png", "--model", "nets.py:build", "--seed", "3"],
        ],
    )
    def test_the_foot_has_the_command_that_draws_it_again(self, folder, arguments):
        Path("nets.py").write_text(
            "from torch import nn\ndef build():\n    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())\n"
        )
        assert run("demo", *arguments, "-o", "first.svg", "--force").exit_code == 0
        drawn = body(Path("first.svg").read_text())
        (typed,) = {found for found in re.findall(r"viztool demo [^<·]*", unescape(drawn)) if arguments[0] in found}
        again = shlex.split(typed.strip())
        assert sorted(again[2:]) == sorted(arguments)
        assert run(*again[1:], "-o", "second.svg").exit_code == 0
        assert body(Path("second.svg").read_text()) == drawn

    def test_a_photo_that_has_no_part_in_the_answer_is_not_named(self, told):
        net = viztool.wrap_model(nn.Conv2d(3, 4, 3), size=40, mean=0.5, std=0.5)
        result = run_demo("counting", model=net)
        assert (result.subject, result.photo) == ("as given", None)
        assert result.command == 'run_demo("counting", model=model)'

    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            (["--slide"], 2, "--slide is of a demo: name it; `viztool demo` lists them"),
            (["--stride", "2"], 2, "--stride is of a demo: name it; `viztool demo` lists them"),
            (["convolution", "--size", "axb"], 2, "the size 'axb' is not of the form HxW, such as 7x9"),
            (["sobell"], 2, "no demo is called 'sobell'; nearest: sobel"),
            (["sobel", "-m", "resnet18"], 2, "sobel has no question to a network; these have:"),
            (["sobel", "--stride", "2"], 2, "sobel has no option 'stride'; it has kernel, ksize, border"),
            (
                ["checkerboard", "--kernel", "3x"],
                2,
                "--kernel of checkerboard is a whole number, the kernel's side, not '3x'",
            ),
            (
                ["checkerboard", "--kernel", "3", "--stride", "4"],
                2,
                "stride 4 is above the kernel 3: pixels between would stay empty; give a kernel of at least 4",
            ),
        ],
    )
    def test_bad_input_is_one_line(self, arguments, code, message):
        result = run("demo", *arguments, *(["--weights", "none"] if "-m" in arguments else []))
        assert result.exit_code == code
        assert message in result.stderr
        assert result.stderr.count("\n") == 1
