"""The small pieces: orders, random maps, blur, imputation, similarity, boxes."""

import math

import numpy as np
import pytest
import torch
from faithfulness_helpers import Additive, harmonic_by_hand, heatmap_of

import viztool
from viztool.faithfulness import HeatmapError, Score, energy_in_box, pointing_game
from viztool.faithfulness.imputation import impute
from viztool.faithfulness.orders import coarseness, random_maps, ranks
from viztool.faithfulness.removal import blurred
from viztool.faithfulness.score import shown
from viztool.faithfulness.similarity import mean_ranks, spearman, ssim


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class TestOrders:
    def test_the_highest_value_is_first(self):
        maps = torch.tensor([[[0.1, 0.9], [-0.5, 0.3]], [[4.0, 3.0], [2.0, 1.0]]])
        assert ranks(maps, seeded()).tolist() == [[[2, 0], [3, 1]], [[0, 1], [2, 3]]]

    def test_a_flat_map_is_a_seeded_random_order(self):
        flat = torch.full((2, 3, 4), 0.5)
        first, second = ranks(flat, seeded(7)).flatten(1)
        generator = seeded(7)
        for places in (first, second):
            assert torch.equal(places.argsort(), torch.randperm(12, generator=generator))
        assert not torch.equal(first, second)

    def test_ties_are_broken_among_themselves_alone(self):
        values = torch.tensor([[[3.0, 1.0, 1.0], [1.0, 1.0, 0.0]]])
        seen = {tuple(ranks(values, seeded(seed)).flatten().tolist()) for seed in range(200)}
        assert {(places[0], places[5]) for places in seen} == {(0, 5)}
        assert len(seen) == math.factorial(4)


class TestRandomMaps:
    def test_they_have_the_maps_own_values(self):
        raw = torch.randn(7, 9).relu()
        for random in random_maps(raw[None], 5, seeded())[0]:
            assert torch.equal(random.flatten().sort().values, raw.flatten().sort().values)
            assert not torch.equal(random, raw)

    def test_they_are_as_coarse_as_the_map(self):
        def alike(maps):
            """Correlation of neighbours."""
            centred = maps - maps.mean((-2, -1), keepdim=True)
            return (centred[..., 1:, :] * centred[..., :-1, :]).mean((-2, -1)) / centred.var((-2, -1))

        coarse = torch.nn.functional.interpolate(torch.randn(1, 1, 6, 6), (48, 48), mode="bicubic")[0, 0]
        fine = coarse.flatten()[torch.randperm(48 * 48)].view(48, 48)
        assert float(alike(coarse)) > 0.9
        assert bool((alike(random_maps(coarse[None], 20, seeded())) > 0.85).all())
        assert bool((alike(random_maps(fine[None], 20, seeded())).abs() < 0.1).all())

    def test_they_lie_anywhere(self):
        raw = torch.zeros(6, 6)
        raw[:2, :2] = 1
        mean = random_maps(raw[None], 4000, seeded())[0].mean(0)
        assert bool(((mean - 4 / 36).abs() < 5 * (4 / 36 * 32 / 36 / 4000) ** 0.5).all())

    def test_those_of_several_maps_lie_alike_and_have_each_ones_values(self):
        maps = torch.randn(3, 5, 6) * torch.tensor([1.0, 100.0, 0.01]).view(3, 1, 1)
        random = random_maps(maps, 4, seeded())
        orders = random.flatten(2).argsort(dim=2)
        assert torch.equal(orders[0], orders[1]) and torch.equal(orders[0], orders[2])
        for own, drawn in zip(maps, random, strict=True):
            for each in drawn:
                assert torch.equal(each.flatten().sort().values, own.flatten().sort().values)

    def test_how_large_the_values_are_does_not_say_which_maps_random_ones_are_like(self):
        maps = torch.randn(2, 6, 6)
        louder = maps * torch.tensor([1.0, 64.0]).view(2, 1, 1)  # a power of two, so that rounding is the same
        orders = [random_maps(each, 4, seeded()).flatten(2).argsort(dim=2) for each in (maps, louder)]
        assert torch.equal(*orders)

    def test_coarseness_is_resolution_frequency_and_ties(self):
        waves = [torch.cos(torch.arange(32) * 2 * torch.pi * cycles / 32).expand(32, 32) for cycles in (1, 3, 4, 8)]
        assert [coarseness(wave)[:3] for wave in waves] == [(32, 32, 0), (32, 32, 1), (32, 32, 2), (32, 32, 3)]
        raw = torch.arange(16.0).view(4, 4)
        assert [coarseness(raw.clamp_min(low))[3] for low in (0, 7, 15)] == [0, 2, 4]
        assert coarseness(3 * raw + 5) == coarseness(raw)

    @pytest.mark.parametrize("raw", [torch.zeros(4, 4), torch.full((3, 5), -2.0), torch.ones(1, 1)])
    def test_those_of_a_flat_map_are_flat(self, raw):
        assert torch.equal(random_maps(raw[None], 3, seeded())[0], raw.expand(3, -1, -1))


class TestBlur:
    def test_against_a_sum_over_all_pixels(self):
        x = torch.rand(1, 2, 40, 60, dtype=torch.float64)
        sigma, radius = 2.0, 6  # 1/20 of the shorter side, cut at 3 σ
        offsets = np.arange(-radius, radius + 1)
        kernel = np.exp(-(offsets**2) / (2 * sigma**2))
        kernel /= kernel.sum()
        padded = np.pad(x[0].numpy(), ((0, 0), (radius, radius), (radius, radius)), mode="edge")
        for i, j in ((0, 0), (20, 30), (39, 59), (3, 50)):
            patch = padded[:, i : i + 2 * radius + 1, j : j + 2 * radius + 1]
            expected = (patch * kernel[:, None] * kernel).sum((1, 2))
            np.testing.assert_allclose(blurred(x)[0, :, i, j], expected, rtol=1e-5)

    def test_a_flat_image_and_a_single_pixel_stay(self):
        for x in (torch.full((1, 3, 33, 20), 0.3), torch.rand(1, 1, 1, 1)):
            torch.testing.assert_close(blurred(x), x)


class TestImputation:
    @pytest.mark.parametrize("size", [(5, 7), (12, 12), (17, 30), (33, 31), (1, 6)])
    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
    def test_against_a_dense_system(self, size, share):
        x = torch.randn(2, 3, *size)
        missing = torch.rand(2, *size) < share
        missing[:, 0, 0] = False
        got = impute(x, missing[:, None].float(), torch.zeros(3, *size))
        for image, mask, filled in zip(x, missing, got, strict=True):
            torch.testing.assert_close(filled.double(), harmonic_by_hand(image.double(), mask), atol=5e-3, rtol=0)
            assert torch.equal(filled[:, ~mask], image[:, ~mask])

    def test_a_large_hole_in_a_ramp_is_bridged_exactly(self):
        ramp = torch.linspace(-1, 1, 64).expand(1, 1, 48, 64)
        missing = torch.zeros(1, 1, 48, 64)
        missing[..., 4:-4, 4:-4] = 1
        torch.testing.assert_close(impute(ramp, missing, torch.zeros(1, 48, 64)), ramp, atol=5e-3, rtol=0)

    def test_noise_comes_to_what_was_missing(self):
        x = torch.full((1, 3, 32, 32), 0.4)
        missing = (torch.rand(1, 1, 32, 32) < 0.5).float()
        noise = torch.randn(3, 32, 32)
        added = impute(x, missing, noise) - impute(x, missing, torch.zeros_like(noise))
        torch.testing.assert_close(added, 0.01 * noise[None] * missing, atol=1e-6, rtol=0)

    def test_with_everything_missing_or_nothing(self):
        x = torch.rand(1, 3, 16, 16)
        nothing = torch.zeros(3, 16, 16)
        assert torch.equal(impute(x, torch.ones(1, 1, 16, 16), nothing), torch.zeros_like(x))
        assert torch.equal(impute(x, torch.zeros(1, 1, 16, 16), nothing), x)


class TestSimilarity:
    def test_mean_ranks_by_hand(self):
        assert mean_ranks(torch.tensor([3.0, 1.0, 3.0, 2.0, 3.0])).tolist() == [4, 1, 4, 2, 4]

    def test_spearman_against_ranks_counted_one_by_one(self):
        a, b = torch.randint(0, 5, (3, 4, 6)).float(), torch.randint(0, 5, (3, 4, 6)).float()

        def slow(x, y):
            ranked = [[sum(u < v for u in z) + (sum(u == v for u in z) + 1) / 2 for v in z] for z in (x, y)]
            return np.corrcoef(*ranked)[0, 1]

        expected = [slow(x.flatten().tolist(), y.flatten().tolist()) for x, y in zip(a, b, strict=True)]
        np.testing.assert_allclose(spearman(a, b), expected, atol=1e-6)

    def test_spearman_of_the_same_the_opposite_and_flat_maps(self):
        a, flat = torch.randn(1, 5, 5), torch.zeros(1, 5, 5)
        assert float(spearman(a, a.exp())) == pytest.approx(1)
        assert float(spearman(a, -a)) == pytest.approx(-1)
        assert float(spearman(a, flat)) == 0
        assert float(spearman(flat, flat)) == 1

    def test_ssim_against_windows_one_by_one(self):
        a, b = torch.rand(1, 14, 13), torch.rand(1, 14, 13)
        offsets = np.arange(11) - 5
        window = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
        window /= window.sum()
        values = []
        for i in range(4):
            for j in range(3):
                x, y = (m[0, i : i + 11, j : j + 11].double().numpy() for m in (a, b))
                mx, my = (window * x).sum(), (window * y).sum()
                vx, vy = (window * (x - mx) ** 2).sum(), (window * (y - my) ** 2).sum()
                cov = (window * (x - mx) * (y - my)).sum()
                c1, c2 = 0.01**2, 0.03**2
                values.append((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
        assert float(ssim(a, b, 1.0)) == pytest.approx(np.mean(values), abs=1e-6)
        assert float(ssim(a, a, 1.0)) == pytest.approx(1)
        assert float(ssim(a[:, :4, :4], a[:, :4, :4], 1.0)) == pytest.approx(1)


class TestScore:
    def test_gain_spread_and_z_by_hand(self):
        score = Score(torch.tensor([0.5]), torch.tensor([[0.1, 0.2, 0.3]]), higher_is_better=True)
        assert float(score.gain) == pytest.approx(0.3)
        assert float(score.spread) == pytest.approx(0.1)
        assert float(score.z) == pytest.approx(3)
        worse = Score(score.value, score.random, higher_is_better=False)
        assert float(worse.z) == pytest.approx(-3)
        assert (score.verdict(0), worse.verdict(0)) == ("better than random", "worse than random")

    @pytest.mark.parametrize(
        ("value", "random", "verdict"),
        [
            (0.3, [0.1, 0.2, 0.3], "no better than random"),
            (0.2, [0.2, 0.2], "no better than random"),
            (0.3, [0.2, 0.2], "better than random"),
            (0.3, [0.2], "better than random"),
            (math.nan, [0.2, 0.1], "not defined"),
        ],
    )
    def test_verdicts(self, value, random, verdict):
        assert Score(torch.tensor([value]), torch.tensor([random]), higher_is_better=True).verdict(0) == verdict

    @pytest.mark.parametrize(
        ("number", "text"), [(0.126, "0.13"), (-0.126, "−0.13"), (-0.001, "0.00"), (math.nan, "–"), (math.inf, "–")]
    )
    def test_numbers_on_a_sheet(self, number, text):
        assert shown(number) == text


class TestBoxes:
    @pytest.fixture
    def tensor(self):
        return Additive(torch.rand(1, 8, 10) / 80), torch.rand(2, 1, 8, 10)

    def test_energy_by_hand(self, tensor):
        raw = torch.rand(2, 8, 10)
        found = energy_in_box(heatmap_of(*tensor, raw), [(2, 1, 6, 5), [(0, 0, 3, 8), (2, 0, 5, 4)]])
        union = torch.zeros(8, 10, dtype=torch.bool)
        union[:, :3] = True
        union[:4, 2:5] = True
        expected = [raw[0, 1:5, 2:6].sum() / raw[0].sum(), raw[1][union].sum() / raw[1].sum()]
        np.testing.assert_allclose(found.value, expected, rtol=1e-5)
        np.testing.assert_allclose(found.random[:, 0], [16 / 80, union.sum() / 80], rtol=1e-6)

    def test_only_what_speaks_for_the_target_has_energy(self, tensor):
        raw = torch.full((2, 8, 10), -5.0)
        raw[:, 2, 3], raw[:, 6, 8] = 3.0, 1.0
        found = energy_in_box(heatmap_of(*tensor, raw), [(3, 2, 4, 3), (8, 6, 9, 7)])
        np.testing.assert_allclose(found.value, [0.75, 0.25])

    def test_pointing(self, tensor):
        raw = torch.zeros(2, 8, 10)
        raw[:, 2, 3], raw[:, 6, 8], raw[:, 0, 0] = 1.0, 0.9, -9.0
        heatmap = heatmap_of(*tensor, raw)
        assert pointing_game(heatmap, [(3, 2, 4, 3), (8, 6, 9, 7)]).value.tolist() == [1, 0]
        assert pointing_game(heatmap, [(0, 0, 3, 8), (0, 0, 10, 3)]).value.tolist() == [0, 1]

    def test_a_flat_map_gets_what_a_random_one_would(self, tensor):
        for raw in (torch.zeros(2, 8, 10), torch.ones(2, 8, 10)):
            for game in (pointing_game, energy_in_box):
                found = game(heatmap_of(*tensor, raw), [(0, 0, 5, 8), (0, 0, 2, 4)])
                np.testing.assert_allclose(found.value, [0.5, 0.1], rtol=1e-6)
                assert found.verdict(0) == "no better than random"

    def test_boxes_are_in_pixels_of_the_photo(self):
        model = viztool.wrap_model(Additive(torch.rand(3, 16, 16) / 999), size=16, mean=0.0, std=1.0)
        photo = np.zeros((32, 64, 3), np.uint8)  # the network sees the middle, columns 16 to 48, at half the size
        raw = torch.zeros(16, 16)
        raw[5, 2] = 1  # columns 20 and 21, rows 10 and 11 of the photo
        heatmap = heatmap_of(model, photo, raw)
        assert float(pointing_game(heatmap, [(20, 10, 22, 12)]).value) == 1
        assert float(pointing_game(heatmap, [(22, 10, 64, 32)]).value) == 0
        assert float(energy_in_box(heatmap, [(0, 0, 64, 32)]).random) == 1
        with pytest.raises(HeatmapError, match=r"^boxes\[0\] lies outside what the network was given of photo\.png$"):
            pointing_game(heatmap, [(0, 0, 15, 32)])

    @pytest.mark.parametrize(
        ("boxes", "message"),
        [
            ([(0, 0, 1, 1)], "boxes for 1 images, and the heatmap is of 2; give one entry for each"),
            ([(0, 0, 1, 1), (0, 0, 1)], "boxes[1] is not (left, top, right, bottom), nor a list of those"),
            ([(0, 0, 1, 1), 3], "boxes[1] is not (left, top, right, bottom), nor a list of those"),
            ([(0, 0, 1, 1), "here"], "boxes[1] is not (left, top, right, bottom), nor a list of those"),
            ([(4, 0, 1, 1), (0, 0, 1, 1)], "boxes[0] has (4, 0, 1, 1): not left < right and top < bottom"),
            ([(0, 0, 1, math.nan), (0, 0, 1, 1)], "boxes[0] has (0, 0, 1, nan): not left < right and top < bottom"),
        ],
    )
    def test_wrong_boxes(self, tensor, boxes, message):
        with pytest.raises(HeatmapError) as caught:
            energy_in_box(heatmap_of(*tensor, torch.rand(2, 8, 10)), boxes)
        assert str(caught.value) == message
