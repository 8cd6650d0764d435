"""The numbers beside a picture, worked out by hand; the photos beside it, found by looking at every unit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from kernel_nets import linear, shared, wrapped
from torch import nn

import viztool
from viztool.errors import ViztoolError
from viztool.images import write_image
from viztool.kernels import objectives as o
from viztool.kernels.checks import high_frequency_fraction, robustness
from viztool.kernels.photos import PhotoActivity, selectivity, watch_photos
from viztool.kernels.weights import KernelWeights, kernel_of

rng = np.random.default_rng(0)
PHOTOS = [rng.integers(0, 256, (24, 24, 3), np.uint8) for _ in range(11)]


class TestHighFrequencies:
    @pytest.mark.parametrize("size", [(32, 32), (31, 40), (40, 31)])
    def test_a_sum_of_waves_has_the_share_of_the_fast_one(self, size: tuple[int, int]) -> None:
        h, w = size
        x = torch.arange(w, dtype=torch.float64)
        slow, fast = torch.cos(2 * torch.pi * x * 3 / w), torch.cos(2 * torch.pi * x * (w // 3) / w)
        images = (5 + slow + 2 * fast).expand(1, 2, h, w)
        assert high_frequency_fraction(images).item() == pytest.approx(0.8)
        y = torch.arange(h, dtype=torch.float64)[:, None]
        down = 2 * torch.cos(2 * torch.pi * y * (h // 3) / h)  # a whole number of waves, whose coefficient stands alone
        assert high_frequency_fraction((slow + down).expand(1, 1, h, w)).item() == pytest.approx(0.8)

    def test_white_noise_has_the_share_of_the_plane(self) -> None:
        found = high_frequency_fraction(torch.randn(4, 3, 128, 128)).mean().item()
        assert found == pytest.approx(1 - np.pi * 0.25**2, abs=0.01)

    def test_a_flat_picture_has_none(self) -> None:
        assert high_frequency_fraction(torch.full((1, 3, 8, 8), 0.3)).item() == 0


class TestRobustness:
    def test_a_mean_survives_what_an_edge_does_not(self) -> None:
        """Grey pictures but for a wide disc keep their mean under turns; a checkerboard filter loses nearly all."""
        model, _ = linear(3, 32)
        with torch.no_grad():
            model.net[0].weight.copy_(torch.ones(1, 3, 32, 32))
        y, x = np.mgrid[:32, :32] - 15.5
        disc = torch.from_numpy(((y**2 + x**2) < 100).astype(np.float32)).expand(1, 3, 32, 32) * 0.5 + 0.5
        kept = robustness(model, [o.channel("0", 0)], disc)
        assert kept.item() == pytest.approx(1, abs=0.02)
        board = torch.from_numpy((-1.0) ** (np.floor(y) + np.floor(x))).float().expand(1, 3, 32, 32)
        with torch.no_grad():
            model.net[0].weight.copy_(board)
        lost = robustness(model, [o.channel("0", 0)], board * 0.5 + 0.5)
        assert abs(lost.item()) < 0.3

    def test_of_a_score_that_is_not_positive_there_is_none(self) -> None:
        model, _ = linear(3, 8)
        assert robustness(model, [o.channel("0", 0)], torch.full((1, 3, 8, 8), 0.5)).isnan().all()


class TestPhotos:
    def activity(self, **options: int) -> PhotoActivity:
        return watch_photos(shared(), "second", PHOTOS, **options)

    def maps(self) -> torch.Tensor:
        model = shared()
        with torch.no_grad(), viztool.capture(model.net, "second") as acts:
            model.net(torch.cat([model.preprocess(photo) for photo in PHOTOS]))
        return acts["second"]

    def test_means_are_the_networks_own(self) -> None:
        np.testing.assert_allclose(self.activity().means, self.maps().mean((2, 3)).numpy(), atol=1e-6)

    @pytest.mark.parametrize("kind", ["top", "least"])
    def test_the_best_are_those_of_a_search_through_all(self, kind: str) -> None:
        activity, maps = self.activity(keep=3), self.maps()
        sign = 1 if kind == "top" else -1
        for channel in range(6):
            peaks = (sign * maps[:, channel]).flatten(1).max(1)
            order = peaks.values.argsort(descending=True)[:3]
            assert activity.photos[kind][channel].tolist() == order.tolist()
            np.testing.assert_allclose(activity.values[kind][channel], sign * peaks.values[order].numpy(), atol=1e-5)
            for place, photo in zip(activity.places[kind][channel], order, strict=True):
                assert list(place) == list(divmod(int(peaks.indices[photo]), maps.shape[3]))

    def test_random_ones_are_units_of_the_same_photos_for_all_channels(self) -> None:
        activity, maps = self.activity(keep=4, seed=3), self.maps()
        assert (activity.photos["random"] == activity.photos["random"][0]).all()
        assert len(set(activity.photos["random"][0].tolist())) == 4
        for channel in range(6):
            for value, photo, (y, x) in zip(
                activity.values["random"][channel],
                activity.photos["random"][channel],
                activity.places["random"][channel],
                strict=True,
            ):
                assert maps[photo, channel, y, x].item() == pytest.approx(value, abs=1e-5)

    def test_a_crop_is_what_the_unit_sees(self) -> None:
        """Two convolutions of 3, the second of stride 2: unit i sees the five pixels from 2i − 2 on."""
        activity = self.activity(keep=1)
        for channel in range(6):
            (excerpt,) = activity.excerpts(channel)
            y, x = (2 * int(at) - 2 for at in activity.places["top"][channel, 0])
            view = activity.model.view(PHOTOS[excerpt.photo])
            np.testing.assert_array_equal(excerpt.picture, view[max(0, y) : min(24, y + 5), max(0, x) : min(24, x + 5)])

    def test_selectivity_is_how_far_the_best_stands_out(self) -> None:
        means = np.array([[0.0, 1.0, 5.0], [0.0, 1.0, 5.0], [0.0, 2.0, 5.0], [4.0, 2.0, 5.0]], np.float32)
        np.testing.assert_allclose(selectivity(means), [3 / np.sqrt(3), 1, 0])

    def test_files_are_read_and_a_broken_one_is_said(self, tmp_path: Path) -> None:
        good = write_image(tmp_path / "a.png", PHOTOS[0])
        (tmp_path / "b.png").write_text("no picture")
        activity = watch_photos(shared(), "second", [tmp_path / "b.png", good])
        assert activity.sources == (good,)
        assert len(activity.failed) == 1
        assert "b.png" in activity.failed[0]
        with pytest.raises(ViztoolError, match=r"^no photo could be read: .*b\.png"):
            watch_photos(shared(), "second", [tmp_path / "b.png"])
        with pytest.raises(ViztoolError, match=r"^no photo could be read: there are none$"):
            watch_photos(shared(), "second", [])


class TestWeights:
    def test_the_first_layers_kernel_sees_colours(self) -> None:
        model = shared()
        found = kernel_of(model, "first", 2, 8)
        assert found is not None
        assert found.sees_colors
        np.testing.assert_array_equal(found.values, model.net.first.weight[2].detach().numpy())

    def test_a_block_gives_the_last_kernel_that_makes_its_channels(self) -> None:
        model = viztool.load_model(weights=None)
        found = kernel_of(model, "blocks.4", 5, 112)
        assert found is not None
        assert (found.layer, found.values.shape, found.sees_colors) == ("blocks.4.2.conv_pwl", (672, 1, 1), False)
        assert kernel_of(model, "blocks.4.0.conv_dw", 5, 480).values.shape == (1, 5, 5)
        assert kernel_of(model, "", 7, 1000).layer == "classifier"
        assert kernel_of(model, "blocks.4.0.bn1", 0, 480) is None

    def test_a_transposed_convolutions_kernel_is_that_of_its_output(self) -> None:
        net = nn.Sequential(nn.ConvTranspose2d(4, 6, 3))
        np.testing.assert_array_equal(kernel_of(net, "0", 5, 6).values, net[0].weight[:, 5].detach().numpy())

    def test_norms_and_order(self) -> None:
        values = np.zeros((3, 2, 2), np.float32)
        values[0, 0, 0], values[2] = 1, 2
        kernel = KernelWeights("a", values, False)
        np.testing.assert_allclose(kernel.norms, [1, 0, 4])
        assert kernel.norm == pytest.approx(17**0.5)
        assert kernel.strongest(2).tolist() == [2, 0]

    def test_singular_patterns_of_a_kernel_of_rank_two(self) -> None:
        a, b = np.eye(3)[:, ::-1] / 3**0.5, np.diag([1.0, -1.0, 0.0]) / 2**0.5
        b = b - (a * b).sum() * a
        b /= np.sqrt((b**2).sum())
        weights = np.linalg.qr(rng.standard_normal((5, 2)))[0]
        values = 4 * weights[:, 0, None, None] * a + 3 * weights[:, 1, None, None] * b
        patterns, shares = KernelWeights("a", values.astype(np.float32), False).patterns(2)
        np.testing.assert_allclose(shares, [16 / 25, 9 / 25], rtol=1e-5)
        np.testing.assert_allclose(np.abs(patterns[0]), np.abs(4 * a), atol=1e-5)
        assert all(pattern.flat[np.abs(pattern).argmax()] > 0 for pattern in patterns)

    def test_no_kernel_where_there_is_none(self) -> None:
        assert kernel_of(wrapped(nn.Sequential(nn.ReLU())), "0", 0, 3) is None
