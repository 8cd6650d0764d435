"""The numbers beside a picture, worked out by hand; the photos beside it, found by looking at every unit."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from kernel_nets import linear, shared, wrapped
from torch import nn

import viztool
from viztool.errors import ViztoolError
from viztool.images import write_image
from viztool.kernels import objectives as o
from viztool.kernels.checks import high_frequency_fraction, robustness
from viztool.kernels.main_path import maker_of
from viztool.kernels.objectives import OUTPUT
from viztool.kernels.photos import PhotoActivity, selectivity, watch_photos
from viztool.kernels.weights import KernelWeights, kernel_of
from viztool.models.model import wrap_model

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

    def test_draws_of_one_picture_are_no_pictures(self) -> None:
        """The first of a row of pictures is to do what the row begins with, and nothing of what it ends with."""
        images, first = torch.rand(1, 3, 24, 24), o.channel("first", 0) + 9 * o.l2(centre=-1)
        row = o.interpolation(first, -100 * o.channel("first", 1))
        assert torch.equal(robustness(shared(), [row], images), robustness(shared(), [first], images))

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

    @pytest.mark.parametrize("layer", ["first", "head", OUTPUT])
    def test_of_photos_that_are_copies_the_first_stands_first_for_maps_vectors_and_classes(self, layer: str) -> None:
        photos = [*PHOTOS, *PHOTOS[:6]]
        model = shared()
        activity = watch_photos(model, layer, photos, keep=len(photos))
        with torch.no_grad(), viztool.capture(model.net, "first") as acts:
            scores = model.net(torch.cat([model.preprocess(photo) for photo in photos]))
        maps = acts["first"] if layer == "first" else scores[..., None, None]
        np.testing.assert_allclose(activity.means, maps.mean((2, 3)).numpy(), atol=1e-6)
        if layer == "first":
            copied = torch.cat([maps[: len(PHOTOS)], maps[:6]])
        else:  # products with few rows round by the place in the batch: two copies need not be equal
            copied = torch.from_numpy(activity.means)[..., None, None]
        for channel in range(maps.shape[1]):
            flat = copied[:, channel].flatten(1)
            for kind, peaks in (("top", -flat.amax(1)), ("least", flat.amin(1))):
                order = sorted(range(len(photos)), key=lambda at, peaks=peaks: (float(peaks[at]), at))
                assert activity.photos[kind][channel].tolist() == order

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

    @pytest.mark.parametrize("mode", ["nearest", "bilinear"])
    def test_behind_an_upsampling_neighbours_have_crops_of_their_own(self, mode: str) -> None:
        """Found the slow way: the pixels with a gradient from the unit, where all weights are positive."""
        net = nn.Sequential(
            nn.Conv2d(3, 2, 3, stride=3), nn.Upsample(scale_factor=4, mode=mode), nn.Conv2d(2, 4, 2, bias=False)
        )
        for name, parameter in net.named_parameters():
            nn.init.uniform_(parameter, 0.1, 1) if name.endswith("weight") else nn.init.zeros_(parameter)
        model = wrapped(net)
        activity = watch_photos(model, "2", PHOTOS, keep=len(PHOTOS))
        sizes = set()
        for kind in ("top", "least", "random"):
            for channel in range(4):
                for excerpt, place in zip(
                    activity.excerpts(channel, kind), activity.places[kind][channel], strict=True
                ):
                    x = torch.rand(1, 3, 24, 24, dtype=torch.float64, requires_grad=True)
                    unit = copy.deepcopy(net).double()(x)[0, channel, place[0], place[1]]
                    (gradient,) = torch.autograd.grad(unit, x)
                    rows, columns = (gradient[0].sum(0).sum(axis).nonzero()[:, 0] for axis in (1, 0))
                    seen = model.view(PHOTOS[excerpt.photo])[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
                    np.testing.assert_array_equal(excerpt.picture, seen)
                    sizes.add(excerpt.picture.shape[:2])
        assert len(sizes) > 1

    def test_selectivity_is_how_far_the_best_stands_out(self) -> None:
        means = np.array([[0.0, 1.0, 5.0], [0.0, 1.0, 5.0], [0.0, 2.0, 5.0], [4.0, 2.0, 5.0]], np.float32)
        np.testing.assert_allclose(selectivity(means), [3 / np.sqrt(3), 1, 0])

    def test_files_are_read_and_a_broken_one_is_said(self, tmp_path: Path) -> None:
        good = write_image(tmp_path / "a.png", PHOTOS[0])
        (tmp_path / "b.png").write_text("no picture")
        activity = watch_photos(shared(), "second", [tmp_path / "b.png", good])
        assert activity.sources == (good.name,)
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
        model = wrapped(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ConvTranspose2d(4, 6, 3)))
        np.testing.assert_array_equal(kernel_of(model, "1", 5, 6).values, model.net[1].weight[:, 5].detach().numpy())

    @pytest.mark.parametrize("channel", range(6))
    def test_and_that_of_its_group(self, channel: int) -> None:
        """What the unit in the middle answers to a picture of one bright input is a weight of its kernel."""
        model = wrapped(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ConvTranspose2d(4, 6, 1, groups=2, bias=False)))
        values = kernel_of(model, "1", channel, 6).values
        answers = model.net[1](torch.eye(4)[..., None, None])[:, channel, 0, 0]
        group = slice(0, 2) if channel < 3 else slice(2, 4)
        np.testing.assert_allclose(values[:, 0, 0], answers[group].detach().numpy())

    @pytest.mark.parametrize(
        ("name", "layer", "width", "kernel"),
        [
            ("resnet18", "layer2.0", 128, "layer2.0.conv2"),  # and not the shortcut's, which is defined last
            ("resnet18", "layer2", 128, "layer2.1.conv2"),
            ("resnet18", "layer2.0.downsample", 128, "layer2.0.downsample.0"),
            ("resnet18", "layer2.0.act2", 128, None),
            ("resnet18", "", 1000, "fc"),
            ("seresnet18", "layer2.0", 128, "layer2.0.conv2"),  # the excitation comes later, and only weighs
            ("seresnet18", "layer2.0.se", 128, None),
            ("convnext_atto", "stages.1.blocks.0", 80, "stages.1.blocks.0.mlp.fc2"),
            ("densenet121", "features.denseblock1", 256, None),  # parts of it are from many kernels
            ("repvgg_a0", "stages.1.0", 96, "stages.1.0.conv_kxk.conv"),  # as long as the way through 1 × 1
            ("vit_tiny_patch16_224", "blocks.0", 192, "blocks.0.mlp.fc2"),
            ("vit_tiny_patch16_224", "blocks.0.attn", 192, "blocks.0.attn.proj"),
        ],
    )
    def test_of_paths_that_meet_the_longest_counts(self, name: str, layer: str, width: int, kernel: str | None) -> None:
        assert maker_of(wrap_model(timm.create_model(name).eval()), layer, width) == kernel

    def test_a_network_that_takes_no_such_picture_behind_the_layer(self) -> None:
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 22 * 22, 2))
        assert maker_of(wrapped(net), "1", 4, (9, 9)) is None
        assert maker_of(wrapped(net), "0", 4, (9, 9)) == "0"

    def test_attention_makes_channels_of_its_own(self) -> None:
        class Attending(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv = nn.Conv2d(3, 4, 3)
                self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                tokens = self.conv(x).flatten(2).mT
                return self.attention(tokens, tokens, tokens)[0]

        model = wrapped(nn.Sequential(Attending()))
        assert maker_of(model, "0.conv", 4) == "0.conv"
        assert maker_of(model, "0", 4) is None

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
