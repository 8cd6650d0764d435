"""Transforms move pictures as they say, by draws of each picture's own."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from viztool.kernels.presets import default_transforms
from viztool.kernels.transforms import Transforms, crop, jitter, noise, pad, rotate, scale


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


@pytest.mark.parametrize("channels", [1, 3, 4, 7])
@pytest.mark.parametrize(
    "transforms",
    [
        Transforms(),
        Transforms(rotate(10)),
        Transforms(scale(0.8, 1.3)),
        Transforms(crop(0.2)),
        Transforms(pad(4), jitter(6), scale(0.9, 1.1), rotate(10), jitter(2)),
    ],
)
def test_a_zero_draw_is_the_identity(transforms: Transforms, channels: int) -> None:
    x = torch.rand(2, channels, 20, 26)
    assert torch.equal(transforms.apply(x, torch.zeros(2, transforms.draws)), x)


@pytest.mark.parametrize("size", [(20, 26), (21, 27)])
def test_pad_frames_in_grey_and_keeps_the_picture(size: tuple[int, int]) -> None:
    x = torch.rand(1, 3, *size)
    found = Transforms(pad(3)).apply(x, torch.zeros(1, 0))
    torch.testing.assert_close(found[:, :, 3:-3, 3:-3], x, atol=1e-5, rtol=0)
    assert (found[:, :, :2] - 0.5).abs().max() < 1e-6


@pytest.mark.parametrize("draw", [(-1.0, -1.0), (0.3, -0.7), (0.99, 0.5), (0.0, 0.0)])
def test_jitter_cuts_a_window_out(draw: tuple[float, float]) -> None:
    x = torch.rand(1, 2, 20, 24)
    found = Transforms(jitter(8)).apply(x, torch.tensor([draw]))
    left, top = (int((d + 1) / 2 * 9) for d in draw)
    torch.testing.assert_close(found, x[:, :, top : top + 12, left : left + 16], atol=1e-5, rtol=0)


@pytest.mark.parametrize("pixels", [1, 2, 3, 4, 8])
def test_jitter_reaches_every_whole_place_as_often(pixels: int) -> None:
    """Columns and rows say where each window began."""
    y, x = torch.meshgrid(torch.arange(12.0), torch.arange(15.0), indexing="ij")
    pictures = torch.stack([x, y])[None].repeat(3000, 1, 1, 1)
    draws = 2 * torch.rand(3000, 2, generator=torch.Generator().manual_seed(0)) - 1
    found = Transforms(jitter(pixels)).apply(pictures, draws)
    assert found.shape == (3000, 2, 12 - pixels, 15 - pixels)
    for corner in (found[:, 0, 0, 0], found[:, 1, 0, 0]):
        torch.testing.assert_close(corner, corner.round(), atol=1e-4, rtol=0)
        counts = torch.bincount(corner.round().long(), minlength=pixels + 1)
        assert len(counts) == pixels + 1
        assert (counts / 3000 * (pixels + 1) - 1).abs().max() < 0.2


@pytest.mark.parametrize("draw", [-1.0, 0.0, 1.0])
def test_jitter_of_a_picture_that_is_smaller_leaves_one_pixel_of_it(draw: float) -> None:
    x = torch.arange(15.0).view(1, 1, 3, 5)
    found = Transforms(jitter(20)).apply(x, torch.full((1, 2), draw))
    torch.testing.assert_close(found, x[:, :, [round(1 + draw)], :][..., [round(2 + 2 * draw)]])


def test_rotation_and_zoom_are_those_of_opencv() -> None:
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.random((31, 31)).astype(np.float32), (0, 0), 2)
    found = Transforms(rotate(20), scale(0.5, 1.5)).apply(
        torch.from_numpy(image)[None, None], torch.tensor([[0.5, 0.4]])
    )
    # Rotated by 10° first, then zoomed by 1.2, about the middle pixel.
    matrix = cv2.getRotationMatrix2D((15, 15), 10, 1.2)
    expected = cv2.warpAffine(image - 0.5, matrix, (31, 31), flags=cv2.INTER_LINEAR) + 0.5
    assert np.abs(found[0, 0].numpy() - expected)[3:-3, 3:-3].max() < 0.02


def test_they_come_one_after_another() -> None:
    """A window is cut out at the right and then turned by 90 degrees: not the other way round."""
    x = torch.rand(1, 2, 20, 20)
    found = Transforms(jitter(8), rotate(90)).apply(x, torch.tensor([[1.0, 0.0, 1.0]]))
    window = x[:, :, 4:16, 8:20]
    torch.testing.assert_close(found, torch.rot90(window, 1, (2, 3)), atol=1e-4, rtol=0)


def test_a_crop_stays_inside_and_fills_the_frame() -> None:
    x = torch.ones(1, 1, 24, 24)  # outside is grey: any of it would show
    for seed in range(20):
        found = Transforms(crop(0.2))(x, generators(seed))
        assert found[:, :, 1:-1, 1:-1].min() > 0.999


def test_each_picture_has_draws_of_its_own() -> None:
    transforms = Transforms(pad(2), jitter(4), rotate(30), noise(0.1))
    x = torch.rand(2, 3, 16, 16)
    both = transforms(x, generators(1, 2))
    torch.testing.assert_close(both[1:], transforms(x[1:], generators(2)))
    same = transforms(x[:1].repeat(2, 1, 1, 1), generators(1, 2))
    assert (same[0] - same[1]).abs().max() > 0.05


def test_noise_has_its_deviation() -> None:
    x = torch.zeros(1, 3, 64, 64)
    found = Transforms(noise(0.03), noise(0.04))(x, generators(0))
    assert found.std().item() == pytest.approx(0.05, rel=0.03)


@pytest.mark.parametrize("side", [32, 64, 128, 224])
def test_the_usual_ones_keep_the_size(side: int) -> None:
    assert default_transforms((side, side)).size((side, side)) == (side, side)


def test_gradients_go_through() -> None:
    x = torch.rand(1, 2, 12, 12, dtype=torch.float64, requires_grad=True)
    transforms = Transforms(pad(2), jitter(4), rotate(30), scale(0.7, 1.2))
    draws = torch.tensor([[0.5, -0.3, 0.8, 0.2]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: transforms.apply(x, draws), x)
