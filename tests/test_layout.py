"""Where the picture is in an activation."""

from __future__ import annotations

from math import inf, log

import pytest
import torch
from torch import Tensor

from viztool.tensors.layout import distortion, map_size, to_maps


def picture(batch: int, channels: int, h: int, w: int) -> Tensor:
    """Maps (N, C, H, W) each value of which tells where it is."""
    return torch.arange(batch * channels * h * w, dtype=torch.float64).view(batch, channels, h, w)


SIZES = [(7, 7, (224, 224)), (14, 28, (224, 448)), (30, 20, (480, 320)), (1, 5, (16, 80)), (75, 100, (600, 800))]


@pytest.mark.parametrize(("h", "w", "size"), SIZES)
@pytest.mark.parametrize("channels", [1, 3, 96, 512])
def test_channels_second_stay_and_are_the_same_tensor(channels: int, h: int, w: int, size: tuple[int, int]) -> None:
    maps = picture(2, channels, h, w)
    assert to_maps(maps, 2, size) is maps


@pytest.mark.parametrize(("h", "w", "size"), SIZES)
@pytest.mark.parametrize("channels", [96, 512, 1024])
def test_channels_last_become_channels_second(channels: int, h: int, w: int, size: tuple[int, int]) -> None:
    maps = picture(2, channels, h, w)
    last = maps.permute(0, 2, 3, 1).contiguous()
    found = to_maps(last, 2, size)
    assert found is not None
    assert torch.equal(found, maps)
    assert found.data_ptr() == last.data_ptr()


@pytest.mark.parametrize("prefix", [0, 1, 2, 5, 16])
@pytest.mark.parametrize(
    ("h", "w", "size"),
    [
        (14, 14, (224, 224)),
        (16, 16, (224, 224)),
        (24, 24, (384, 384)),
        (37, 37, (518, 518)),
        (14, 28, (224, 448)),
        (30, 20, (480, 320)),
        (7, 25, (224, 800)),
        (2, 2, (32, 32)),
    ],
)
def test_tokens_become_maps_row_by_row_without_those_before_them(
    prefix: int, h: int, w: int, size: tuple[int, int]
) -> None:
    maps = picture(2, 6, h, w)
    tokens = torch.cat([torch.full((2, prefix, 6), -1.0, dtype=torch.float64), maps.flatten(2).mT], 1)
    found = to_maps(tokens, 2, size)
    assert found is not None
    if (prefix, h, w) == (16, 2, 2):  # four patches and sixteen others, or sixteen and four
        maps = tokens[:, 4:].mT.unflatten(2, (4, 4))
    assert torch.equal(found, maps)


@pytest.mark.parametrize("prefix", [0, 1, 2])
@pytest.mark.parametrize(
    ("h", "w", "size"),
    [
        (16, 16, (225, 225)),
        (14, 14, (230, 230)),
        (15, 15, (230, 230)),
        (14, 20, (230, 333)),
        (15, 21, (230, 333)),
        (29, 20, (462, 319)),
    ],
)
def test_patches_may_leave_a_rest_of_the_picture_or_pad_it(prefix: int, h: int, w: int, size: tuple[int, int]) -> None:
    assert map_size((2, prefix + h * w, 6), 2, size) == (h, w)


def test_where_both_readings_fit_channels_come_second() -> None:
    for shape in [(2, 7, 7, 7), (1, 56, 56, 56), (2, 3, 3, 3)]:
        x = torch.randn(shape)
        assert to_maps(x, shape[0], (224, 224)) is x


def test_a_network_that_stretches_the_picture_itself_has_its_channels_second() -> None:
    for channels in (16, 64, 240):
        x = torch.randn(1, channels, 160, 160)
        assert to_maps(x, 1, (120, 200)) is x


def test_a_padded_picture_is_still_told_from_channels() -> None:
    # 480 × 640 scaled to 800 × 1067 and padded to 800 × 1088
    for stride in (4, 8, 16, 32, 64):
        assert map_size((1, -(-800 // stride), -(-1088 // stride), 96), 1, (480, 640))[1] == -(-1088 // stride)
        assert map_size((1, 96, -(-800 // stride), -(-1088 // stride)), 1, (480, 640))[0] == -(-800 // stride)


@pytest.mark.parametrize("size", [(480, 640), (500, 333), (224, 448), (65, 130)])
@pytest.mark.parametrize("stride", [4, 8, 16, 32, 64])
def test_small_maps_are_told_by_their_proportions_as_far_as_they_have_any(size: tuple[int, int], stride: int) -> None:
    h, w = (-(-side // stride) for side in size)
    assert map_size((1, h, w, 384), 1, size) == (h, w)
    assert map_size((1, 384, h, w), 1, size) == (h, w)


def test_gradients_go_through() -> None:
    tokens = torch.randn(1, 5, 3, requires_grad=True)
    maps = to_maps(tokens, 1, (32, 32))
    assert maps is not None
    maps[0, 2, 1, 0].backward()
    assert tokens.grad is not None
    assert tokens.grad.nonzero().tolist() == [[0, 3, 2]]


@pytest.mark.parametrize(
    "shape",
    [
        (),
        (2,),
        (2, 1000),
        (4, 64, 7, 7),  # windows of attention: not one per picture
        (7, 7, 64),
        (2, 8, 7, 7, 7),
        (2, 190, 64),  # no grid of square patches
        (2, 0, 64),
    ],
)
def test_what_holds_no_maps_has_none(shape: tuple[int, ...]) -> None:
    assert to_maps(torch.empty(shape), 2, (224, 224)) is None
    assert map_size(shape, 2, (224, 224)) is None


def test_map_size_is_the_size_of_the_maps() -> None:
    assert map_size((2, 64, 14, 28), 2, (224, 448)) == (14, 28)
    assert map_size((2, 14, 28, 64), 2, (224, 448)) == (14, 28)
    assert map_size((2, 1 + 14 * 28, 64), 2, (224, 448)) == (14, 28)


def test_distortion_is_the_log_ratio_of_the_proportions() -> None:
    assert distortion((7, 7), (224, 224)) == 0
    assert distortion((14, 28), (224, 448)) == 0
    assert distortion((2, 1), (1, 2)) == pytest.approx(log(4))
    assert distortion((1, 2), (2, 1)) == pytest.approx(log(4))
    assert distortion((0, 7), (224, 224)) == inf
