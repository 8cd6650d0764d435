"""Claim 30 and what the notes say of Sobel."""

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from viztool.demos import DemoError, WrongNumberError, run_demo
from viztool.demos.concepts import sobel as room
from viztool.demos.concepts.sobel import sobel_kernel
from viztool.demos.kernel import BORDERS, correlate, parse_kernel
from viztool.demos.photo import reference_photo

GX = "1 0 -1; 2 0 -2; 1 0 -1"


@pytest.fixture(scope="module")
def numbers():
    return run_demo("sobel").numbers


class TestNumbers:
    def test_equal_to_opencv_to_the_last_bit(self, numbers):
        assert numbers["borders"]["difference"] == dict.fromkeys(BORDERS, 0.0)
        assert numbers["borders"]["float32_error"] <= 5e-7

    def test_zero_padding_differs_on_the_border_only(self, numbers):
        grey = reference_photo().grey
        ours = F.conv2d(
            torch.from_numpy(grey).double()[None, None], torch.from_numpy(sobel_kernel(3))[None, None], padding=1
        )[0, 0].numpy()
        differs = ours != cv2.Sobel(grey, cv2.CV_64F, 1, 0)
        assert not differs[1:-1, 1:-1].any()
        assert numbers["borders"]["differing_at_the_border"] == differs.sum() > 0

    def test_ramp_gains(self, numbers):
        assert numbers["ramp_gain"] == {"-1": 32, "1": 2, "3": 8, "5": 128, "7": 2048}

    def test_flat_parts_are_small_not_zero(self, numbers):
        gx = cv2.Sobel(reference_photo().grey, cv2.CV_64F, 1, 0)
        assert numbers["flat"]["exactly_zero"] == (gx == 0).mean() == pytest.approx(0.0223, abs=5e-5)
        assert numbers["flat"]["under_5_percent"] == pytest.approx(0.84, abs=0.005)

    def test_8_bits_lose_half(self, numbers):
        assert numbers["flat"]["lost_in_8_bits"] == pytest.approx(0.499, abs=5e-4)
        assert 0 < numbers["flat"]["phase_error_degrees"] < 0.02

    def test_the_worked_places(self, numbers):
        grey = reference_photo().grey.astype(int)
        for place in numbers["worked"].values():
            row, column = place["row"], place["column"]
            patch = grey[row - 1 : row + 2, column - 1 : column + 2]
            assert place["patch"] == patch.tolist()
            assert place["sum"] == (patch * np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])).sum()

    def test_the_direction_is_what_its_caption_says(self):
        """White where nothing changes, and full of colour at an edge: not bright there and dark elsewhere."""
        slope = np.zeros((1, 3))
        slope[0, 1:] = 4.0, 8.0
        flat, faint, full = room._direction(slope, np.zeros((1, 3)), slope)[0].astype(int)
        assert flat.tolist() == [255, 255, 255]
        assert np.ptp(faint) < np.ptp(full)
        caption = " ".join(word for word in run_demo("sobel").words if "arctan2" in word or "white where" in word)
        assert caption == "arctan2(Gy, Gx) as hue, white where nothing changes"

    def test_any_size(self, numbers):
        assert len(numbers["any_size"]) == 3
        assert {(each["weights"], each["difference"]) for each in numbers["any_size"]} == {(9, 0.0)}


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("ksize", [-1, 1, 3, 5, 7])
def test_every_size_and_border_is_opencvs(ksize, border):
    grey = reference_photo().grey[100:140, 100:150]
    theirs = cv2.Sobel(grey, cv2.CV_64F, 1, 0, ksize=ksize, borderType=room._CV_BORDERS[border])
    assert np.array_equal(correlate(grey, sobel_kernel(ksize), border), theirs)
    run_demo("sobel", reference_photo().rgb[100:140, 100:150], ksize=ksize, border=border)


class TestOwnKernel:
    def test_it_is_a_correlation(self):
        numbers = run_demo("sobel", kernel=GX).numbers
        assert numbers["kernel"] == [[1, 0, -1], [2, 0, -2], [1, 0, -1]]
        assert numbers["borders"]["difference"] == dict.fromkeys(BORDERS, 0.0)

    def test_not_square_and_not_whole(self):
        kernel = np.random.default_rng(0).normal(size=(3, 5))
        numbers = run_demo("sobel", kernel=kernel).numbers
        assert numbers["flat"]["constant_100_gives"] == pytest.approx(100 * kernel.sum())

    def test_from_a_file(self, tmp_path):
        file = tmp_path / "kernel.txt"
        file.write_text("1, 0, -1\n\n2, 0, -2\n1, 0, -1\n")
        assert np.array_equal(parse_kernel(str(file)), parse_kernel(GX))

    def test_fractions(self):
        assert np.array_equal(parse_kernel("1/4 1/2 1/4"), [[0.25, 0.5, 0.25]])

    @pytest.mark.parametrize(
        ("kernel", "message"),
        [
            ("1 0 x", "the kernel '1 0 x' does not parse: 'x' is no number; "),
            ("1 0; 2 0", "the kernel is 2 × 2; give one with odd sides, which has a middle"),
            ("1 0 1; 2 0", "row 2 of the kernel has 2 numbers and row 1 has 3; "),
            (" ; ", "the kernel ' ; ' has no numbers; "),
            ("1/0", "the kernel '1/0' does not parse: '1/0' is no number; "),
            ("nan", "the kernel has values that are not finite; "),
            (np.zeros(3), r"a kernel has rows and columns, not the shape \(3,\); "),
            (np.zeros((81, 3)), "the kernel of 81 × 3 does not fit the photo of 40 × 40 pixels; give a smaller one"),
        ],
    )
    def test_what_is_no_kernel(self, kernel, message):
        with pytest.raises(DemoError, match=f"^{message}"):
            run_demo("sobel", np.zeros((40, 40, 3), np.uint8), kernel=kernel)

    def test_what_opencv_does_not_have(self):
        with pytest.raises(DemoError, match=r"^ksize is 4; OpenCV's Sobel has -1, 1, 3, 5, 7, and −1 is Scharr's$"):
            run_demo("sobel", ksize=4)
        with pytest.raises(DemoError, match=r"^no border is called 'wrap'; there are reflect-101, reflect, replicate"):
            run_demo("sobel", border="wrap")


def test_a_wrong_number_is_loud(monkeypatch):
    monkeypatch.setitem(room._RAMP_GAIN, 5, 127)
    with pytest.raises(WrongNumberError, match=r"^sobel: ramp gain of ksize 5: expected 127.0, found 128$"):
        run_demo("sobel")
