"""Claims 1 to 8: what convolutions of all kinds do."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from viztool.demos import DemoError, run_demo
from viztool.demos import sliding as room
from viztool.demos.concepts.depthwise_group import connectivity
from viztool.demos.concepts.dilation import paths
from viztool.demos.concepts.receptive_field import best_pair
from viztool.demos.photo import reference_photo
from viztool.demos.sliding import parse_sliding
from viztool.render.grids import Grid
from viztool.render.numbers import number
from viztool.render.raster import raster
from viztool.render.text import Style, text_width


class TestConvolution:
    def test_it_is_a_correlation_and_the_formula_is_torchs(self):
        numbers = run_demo("convolution").numbers
        assert numbers["flipped"]["difference_to_minus_the_correlation"] == 0
        assert numbers["sides"]["k3_s2_p1"] == {"224": 112, "225": 113, "7": 4}
        assert numbers["sides"]["pool_of_7"] == {"floor": 3, "ceil": 4}
        for place in numbers["worked"]:
            assert place["sum"] == numbers["sliding"]["output"][place["output"][0]][place["output"][1]]

    @pytest.mark.parametrize("transposed", [False, True])
    @pytest.mark.parametrize(
        ("kernel", "stride", "padding", "dilation", "size"),
        [(3, 1, 0, 1, "7x7"), (3, 2, 1, 1, "7x9"), (3, 2, 0, 2, "7x9"), (2, 2, 0, 1, "6x5"), (5, 3, 2, 1, "8x7")],
    )
    def test_sliding_is_torchs(self, kernel, stride, padding, dilation, size, transposed):
        sliding = parse_sliding(reference_photo(), kernel, stride, padding, dilation, size, transposed=transposed)
        height, width = map(int, size.split("x"))
        assert sliding.image.shape == (height, width)
        x, w = torch.from_numpy(sliding.image)[None, None], torch.from_numpy(sliding.kernel)[None, None]
        run = F.conv_transpose2d if transposed else F.conv2d
        out = run(x, w, stride=stride, padding=padding, dilation=dilation)[0, 0].numpy()
        assert np.array_equal(sliding.output(), out)

    def test_outputs_to_come_are_blank_and_numbers_stay_in_their_cells(self):
        sliding = parse_sliding(reference_photo(), 3, 2, 0, 2, "7x9", transposed=True)
        rows, columns = sliding.shape()
        cell = room._room(sliding.output())
        assert all(text_width(number(each), Style(8)) <= cell - 4 for each in sliding.output().ravel())
        first, *_, last = sliding.frames()
        left = last.shape[1] - columns * cell - 24
        below = first[72 + cell + 1 : 72 + rows * cell - 1, left - 4 : left + columns * cell - 1]
        ink = (below != 255).any((0, 2))
        assert np.flatnonzero(ink).tolist() == [4], "of what is to come there is the frame alone"

    def test_zeros_that_are_no_pixels_are_white_wherever_they_stand(self):
        sliding = parse_sliding(reference_photo(), 3, 2, 0, 1, "3x3", transposed=True)
        assert len(sliding.zeros()) == sliding.canvas().size - 9
        assert sliding.zeros_under(0, 0) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0), (2, 1)]
        grid = Grid(np.zeros((1, 2)), white=99, cell=20, blank=[(0, 1)], form="")
        black, white = raster(grid.draw_cells())[10, [10, 30]].tolist()
        assert (black, white) == ([0, 0, 0], [255, 255, 255])
        padded = parse_sliding(reference_photo(), 3, 1, 1, 1, "4x4", transposed=False)
        assert padded.zeros_under(0, 0) == [(0, 0), (0, 1), (0, 2), (1, 0), (2, 0)]

    def test_it_moves(self, tmp_path):
        result = run_demo("convolution", kernel=3, stride=2, transposed=True, size="2x3")
        with Image.open(result.save(tmp_path / "c.gif")) as movie:
            assert movie.n_frames == 5 * 7
            movie.seek(1)
            assert movie.info["duration"] == 450
        assert result.save(tmp_path / "c.png").stat().st_size > 10_000
        with pytest.raises(DemoError, match=r"^dilation does not move; write a \.png$"):
            run_demo("dilation").save(tmp_path / "d.gif")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"stride": 4}, "stride 4 is above the kernel's 3 pixels: some would never be met; give at most 3"),
            ({"size": "7"}, "the size '7' is not of the form HxW, such as 7x9"),
            ({"size": "2x2"}, "the kernel covers 3 pixels, and the input has 2 × 2; give a larger size"),
            ({"size": "7x99"}, "the width is 99; give one from 1 to 16"),
            ({"kernel": 9}, "kernel is 9; give one from 1 to 7"),
            (
                {"transposed": True, "padding": 3},
                "padding 3 cuts off all that the kernel of 3 pixels adds; give at most 2",
            ),
        ],
    )
    def test_what_cannot_be(self, options, message):
        with pytest.raises(DemoError, match=f"^{message}$"):
            run_demo("convolution", **options)


def test_pointwise_is_linear_and_blind_to_places():
    numbers = run_demo("pointwise").numbers
    assert numbers["difference_to_linear"] < 1e-6
    assert numbers["difference_when_shuffled"] < 1e-6
    assert numbers["macs"] == {"direct": 120_422_400, "through_16": 12_443_648, "share": 12_443_648 / 120_422_400}
    assert numbers["fails"]["difference_3x3_when_shuffled"] > 0.1


class TestDilation:
    def test_what_is_touched(self):
        found = run_demo("dilation").numbers["touched"]
        assert {name: (each["touched"], each["field"]) for name, each in found.items()} == {
            "one, d = 2": (9, 25),
            "d = 2, then d = 2": (25, 81),
            "d = 2, three times": (49, 169),
            "d = 1, 2, 3": (169, 169),
        }

    def test_the_size_needs_padding_2(self):
        assert run_demo("dilation").numbers["side_of_20"] == {"p=2": 20, "p=1": 18}

    def test_paths_are_counted(self):
        assert paths((1, 1))[2].tolist() == [3, 6, 9, 6, 3]


@pytest.fixture(scope="module")
def numbers():
    return run_demo("receptive-field").numbers


class TestReceptiveField:
    def test_weights(self, numbers):
        assert [(each["weights"], each["large"]) for each in numbers["fields"].values()] == [(18, 25), (27, 49)]

    def test_a_pair_leaves_a_part_of_a_random_kernel(self, numbers):
        assert 0.06 <= numbers["fit"]["left"]["median"] <= 0.14
        assert numbers["fit"]["left"]["10%"] < numbers["fit"]["left"]["median"] < numbers["fit"]["left"]["90%"]

    def test_a_kernel_that_is_a_pair_is_found(self):
        rng = np.random.default_rng(0)
        first, second = rng.normal(size=(2, 3, 3))
        whole = F.conv2d(
            torch.from_numpy(first)[None, None], torch.from_numpy(second[::-1, ::-1].copy())[None, None], padding=2
        )
        assert best_pair(whole[0, 0].numpy(), rng)[0] < 1e-3

    def test_the_effective_field_is_smaller(self, numbers):
        assert numbers["effective"]["side"] == 21
        assert numbers["effective"]["share_of_energy"] > 3 * numbers["effective"]["share_of_area"]


def test_only_rank_1_is_separable():
    numbers = run_demo("separable").numbers
    assert {name: each["rank"] for name, each in numbers["kernels"].items()} == {
        "Sobel": 1,
        "mean": 1,
        "Laplace": 2,
        "random": 3,
    }
    assert numbers["weights"]["halves"] / numbers["weights"]["whole"] == 6 / 9
    assert numbers["photo"]["Sobel"]["left"] < 1e-20 < 0.01 < numbers["photo"]["Laplace"]["left"]


class TestGroups:
    def test_weights(self):
        weights = run_demo("depthwise-group").numbers["weights"]
        assert weights["one group"] == {"weights": 73_728, "biases": 128}
        assert weights["4 groups"] == {"weights": 18_432, "biases": 128}
        assert weights["depthwise, 64 → 64"]["weights"] == 576
        assert weights["depthwise, 64 → 128"]["weights"] == 2 * 576

    def test_connectivity(self):
        matrix = connectivity(nn.Conv2d(4, 8, 3, groups=2, bias=False))
        assert matrix.tolist() == [[1, 1, 0, 0]] * 4 + [[0, 0, 1, 1]] * 4
