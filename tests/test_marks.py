"""What files say of how they were made, and whose files may be replaced."""

import hashlib
import json
import zipfile
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from viztool import __version__
from viztool.cli import main
from viztool.errors import ImageError
from viztool.images import mark_of, read_image, read_mark, signed_by, write_film, write_image
from viztool.images.marks import Mark, digest
from viztool.images.writing import atomic_write
from viztool.render.canvas import Canvas
from viztool.render.text import BODY
from viztool.results import Result

PIXELS = np.random.default_rng(0).integers(0, 256, (8, 9, 3), dtype=np.uint8)
NUMBERS = {"seed": 3, "b": [1.5, None], "a": "Ω", "versions": {"viztool": "0.1.0", "torch": "2.9"}}
COMMAND = "viztool cam 'a (b) \\ <c> & é.jpg'"


class Sheet(Result):
    numbers: ClassVar = NUMBERS
    arrays: ClassVar = {"map": np.arange(3)}

    def drawing(self):
        canvas = Canvas(30, 90)
        canvas.picture(0, 0, PIXELS)
        canvas.text("a <map>", 12, 20, BODY)
        return canvas


SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".svg", ".pdf")


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".npz"])
def test_a_file_says_how_it_was_made(suffix, tmp_path):
    with signed_by(COMMAND, 7):
        path = (Sheet().save_npz if suffix == ".npz" else Sheet().save)(tmp_path / f"x{suffix}")
    canonical = '{"a":"\\u03a9","b":[1.5,null],"seed":3,"versions":{"torch":"2.9","viztool":"0.1.0"}}'
    expected = hashlib.sha256(canonical.encode()).hexdigest()
    assert read_mark(path) == Mark(__version__, COMMAND, 3, {"viztool": "0.1.0", "torch": "2.9"}, expected)
    renamed = path.rename(tmp_path / "no_suffix")
    assert read_mark(renamed) is not None, "content decides, not the suffix"


def test_the_mark_changes_no_pixel_and_no_array(tmp_path):
    write_image(tmp_path / "with.png", PIXELS, mark=mark_of(NUMBERS))
    np.testing.assert_array_equal(read_image(tmp_path / "with.png"), PIXELS)
    with np.load(Sheet().save_npz(tmp_path / "x.npz")) as arrays:
        assert arrays["map"].tolist() == [0, 1, 2]


def test_a_moving_picture_says_it_in_its_comment(tmp_path):
    path = tmp_path / "x.gif"
    frames = [PIXELS, 255 - PIXELS]
    write_film(path, frames, mark=mark_of(NUMBERS))
    assert read_mark(path) == mark_of(NUMBERS)
    write_film(path, frames)
    assert read_mark(path) is None


def test_the_digest_is_of_the_numbers_alone():
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
    assert mark_of().digest is None
    assert mark_of({"settings": {"seed": 5}}).seed == 5


def test_the_command_is_the_one_of_the_block_and_not_endless():
    with signed_by("outer", 1):
        with signed_by("viztool " + "x" * 5000, 2):
            assert mark_of().seed == 2
            assert len(mark_of().command) < 2010
        assert mark_of().command == "outer"
    assert mark_of() == Mark(__version__, None, None, {"viztool": __version__})


def foreign(path):
    """Files that others made, of every kind that could be mistaken."""
    match path.suffix:
        case ".svg":
            path.write_text('<svg xmlns="http://www.w3.org/2000/svg"><metadata>{"viztool": "0"}</metadata></svg>')
        case ".pdf":
            path.write_bytes(b"%PDF-1.4\n1 0 obj\n<< /Keywords (viztool) >>\nendobj\n")
        case ".npz":
            np.savez(path, map=PIXELS)
        case _:
            Image.fromarray(PIXELS).save(path, comment=b"drawn with viztool")
    return path


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".npz"])
def test_another_file_is_kept_and_ones_own_replaced(suffix, tmp_path):
    save = Sheet().save_npz if suffix == ".npz" else Sheet().save
    path = foreign(tmp_path / f"x{suffix}")
    before = path.read_bytes()
    assert read_mark(path) is None
    with pytest.raises(ImageError, match=r"exists; use --force to replace it or -o to write elsewhere$"):
        save(path, force=False)
    assert path.read_bytes() == before
    save(path, force=True)
    first = path.read_bytes()
    with signed_by("viztool again", 0):
        save(path, force=False)
    assert path.read_bytes() != first
    assert read_mark(path).command == "viztool again"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_of_another_that_appears_meanwhile_is_kept(tmp_path):
    path = Sheet().save(tmp_path / "x.png")
    with pytest.raises(ImageError, match="exists"), atomic_write(path, force=False) as file:
        file.write(b"mine")
        path.write_bytes(b"another's")
    assert path.read_bytes() == b"another's"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        b"\x89PNG\r\n\x1a\n",
        b"PK\x03\x04",
        b"%PDF-1.7",
        b"<svg",
        b"\xff\xd8\xff",
        b"RIFF\0\0\0\0WEBP",
        b"GIF89a",
    ],
)
def test_what_is_damaged_or_no_picture_is_not_ours(content, tmp_path):
    path = tmp_path / "x"
    path.write_bytes(content)
    assert read_mark(path) is None


def test_a_sheet_of_the_days_before_marks_is_ours(tmp_path):
    path = write_image(tmp_path / "x.png", PIXELS, is_sheet=True)
    assert read_mark(path) == Mark("")
    write_image(path, 255 - PIXELS, force=False)
    np.testing.assert_array_equal(read_image(path), 255 - PIXELS)


class TestAbout:
    def test_it_prints_what_the_picture_says(self, tmp_path):
        with signed_by(COMMAND, 7):
            path = Sheet().save(tmp_path / "x.pdf")
        result = CliRunner().invoke(main, ["about", str(path)])
        assert result.exit_code == 0
        assert result.stdout == (
            f"{path}: drawn by viztool {__version__}\n"
            f"  command   {COMMAND}\n"
            "  seed      3\n"
            "  versions  viztool 0.1.0, torch 2.9\n"
            f"  numbers   SHA-256 {digest(NUMBERS)}\n"
        )

    def test_of_another_picture_it_says_so(self, tmp_path):
        ours, other = Sheet().save(tmp_path / "x.png"), foreign(tmp_path / "y.png")
        result = CliRunner().invoke(main, ["about", str(other), str(tmp_path / "none.png"), str(ours)])
        assert result.exit_code == 1
        assert result.stdout.startswith(f"{ours}: drawn by viztool {__version__}\n  command   none: from Python\n")
        assert result.stderr == (
            f"Error: {other} is not viztool's: it carries no mark of how it was made\n"
            f"Error: {tmp_path / 'none.png'} cannot be read (No such file or directory)\n"
        )

    def test_as_json(self, tmp_path):
        ours, other = Sheet().save(tmp_path / "x.svg"), foreign(tmp_path / "y.npz")
        result = CliRunner().invoke(main, ["about", "--json", str(ours), str(other)])
        assert result.exit_code == 1
        told = json.loads(result.stdout)
        assert told[str(other)] is None
        assert told[str(ours)]["digest"] == digest(NUMBERS)


def test_the_same_command_twice_and_its_words_in_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.repeat(np.repeat(PIXELS, 8, 0), 8, 1)).save("a photo.png")
    arguments = ["demo", "padding", "a photo.png", "--seed", "4", "-o", "x.svg"]
    for _ in range(2):
        result = CliRunner().invoke(main, arguments)
        assert (result.exit_code, result.output) == (0, "x.svg\n")
    mark = read_mark("x.svg")
    assert (mark.command, mark.seed) == ("viztool demo padding 'a photo.png' --seed 4 -o x.svg", 4)


def test_an_archive_stays_one(tmp_path):
    with zipfile.ZipFile(Sheet().save_npz(tmp_path / "x.npz")) as archive:
        assert archive.namelist() == ["map.npy"]
        assert archive.testzip() is None


def test_a_suffix_that_no_picture_has(tmp_path):
    with pytest.raises(ImageError) as caught:
        Sheet().save(tmp_path / "x.eps")
    assert str(caught.value) == (
        f"{tmp_path / 'x.eps'} has the suffix .eps; a picture is written as .png, .jpg, .jpeg, .webp, .svg, .pdf"
    )
    assert not Path(tmp_path / "x.eps").exists()
