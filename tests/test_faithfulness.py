"""The numbers that say how far a heatmap can be believed, against networks whose truth is known."""

import json
import math
from itertools import permutations

import numpy as np
import pytest
import torch
from faithfulness_helpers import Additive, SmallNet, additive, harmonic_by_hand, heatmap_of, photos
from torch import nn

import viztool
from viztool.errors import ModelError, TargetError, ViztoolError
from viztool.faithfulness import HeatmapError, evaluate_heatmap
from viztool.faithfulness.curves import ROAD_SHARES, area, road, step_counts, walk
from viztool.faithfulness.orders import coarseness
from viztool.faithfulness.removal import blank, blurred
from viztool.faithfulness.result import NAMES
from viztool.models import Model
from viztool.models.preprocess import Preprocessing
from viztool.targets.question import Question


def trapezoid(shares, values):
    """The area under a curve over its width, term by term."""
    steps = zip(shares, shares[1:], values, values[1:], strict=False)
    return sum((b - a) * (low + high) / 2 for a, b, low, high in steps) / (shares[-1] - shares[0])


@pytest.fixture
def model():
    return viztool.wrap_model(SmallNet().eval(), size=16, mean=0.5, std=0.5, classes=["a", "b", "c", "d", "e"])


class TestCurves:
    def test_they_run_between_the_image_the_blank_and_the_blur(self, model):
        photo = photos(1)[0]
        found = evaluate_heatmap(model, photo, heatmap_of(model, photo, torch.randn(4, 4), 2), draws=2)
        x = model.preprocess(photo)
        with torch.no_grad():
            clear, empty, blur = (model.net(each).softmax(1)[0, 2] for each in (x, blank(x), blurred(x)))
        for values in (found.curves["deletion"].values[0], *found.curves["deletion"].random[0]):
            torch.testing.assert_close(values[[0, -1]], torch.stack([clear, empty]))
        for values in (found.curves["insertion"].values[0], *found.curves["insertion"].random[0]):
            torch.testing.assert_close(values[[0, -1]], torch.stack([blur, clear]))
        torch.testing.assert_close(found.probability, clear[None])

    def test_deletion_of_an_additive_network_by_hand(self):
        net, x, terms = additive(3, 4, 5)
        found = evaluate_heatmap(net, x, heatmap_of(net, x, terms), steps=20, draws=2)
        ordered = sorted(terms.flatten().tolist(), reverse=True)
        left = [sum(ordered[gone:]) for gone in range(21)]
        np.testing.assert_allclose(found.curves["deletion"].values[0], left, atol=1e-6)
        np.testing.assert_allclose(found.curves["deletion"].shares, np.arange(21) / 20, atol=1e-7)
        assert float(found.deletion) == pytest.approx(trapezoid([k / 20 for k in range(21)], left), abs=1e-6)

    def test_insertion_of_an_additive_network_by_hand(self):
        net, x, terms = additive(1, 4, 5)
        blur_terms = (net.weight[0] * blurred(x)[0, 0]).detach()
        found = evaluate_heatmap(net, x, heatmap_of(net, x, terms), steps=20, draws=2)
        order = terms.flatten().argsort(descending=True)
        expected = [float(terms.flatten()[order[:k]].sum() + blur_terms.flatten()[order[k:]].sum()) for k in range(21)]
        np.testing.assert_allclose(found.curves["insertion"].values[0], expected, atol=1e-6)

    def test_no_order_deletes_an_additive_network_faster_than_the_true_one(self):
        net, x, terms = additive(1, 2, 3)
        orders = torch.tensor(list(permutations(range(6)))).view(-1, 2, 3)
        counts = step_counts(6, 6)
        areas = area(counts / 6, walk(Question(net, x, 0), orders, x, blank(x), counts))
        best = orders[areas.argmin()].flatten()
        assert torch.equal(best, terms.flatten().argsort(descending=True).argsort())
        found = evaluate_heatmap(net, x, heatmap_of(net, x, terms), steps=6, draws=2)
        assert float(found.deletion) == pytest.approx(float(areas.min()), abs=1e-6)
        worst = evaluate_heatmap(net, x, heatmap_of(net, x, -terms), steps=6, draws=2)
        assert float(worst.deletion) == pytest.approx(float(areas.max()), abs=1e-6)

    def test_the_expected_curve_of_random_maps_is_a_straight_line_on_an_additive_network(self):
        net, x, terms = additive(1, 6, 6)
        random = evaluate_heatmap(net, x, heatmap_of(net, x, terms), steps=12, draws=600).curves["deletion"].random[0]
        line = float(terms.sum()) * (1 - torch.linspace(0, 1, 13))
        error = random.std(0) / 600**0.5
        assert bool(((random.mean(0) - line).abs() <= 4 * error + 1e-6).all())
        assert float(error[6]) > 1e-4

    def test_the_order_is_that_of_signed_values(self):
        net, x, terms = additive(1, 4, 4)
        against = terms - terms.median()  # half of them negative: to take absolute values would mix them up
        found = evaluate_heatmap(net, x, heatmap_of(net, x, against), steps=16, draws=2)
        true = evaluate_heatmap(net, x, heatmap_of(net, x, terms), steps=16, draws=2)
        torch.testing.assert_close(found.curves["deletion"].values, true.curves["deletion"].values)

    def test_steps_beyond_the_number_of_pixels_are_left_out(self):
        assert step_counts(4, 32).tolist() == [0, 1, 2, 3, 4]
        assert step_counts(10, 4).tolist() == [0, 2, 5, 8, 10]

    def test_a_video_loses_a_pixel_in_all_frames(self):
        class Mean(nn.Module):
            def forward(self, x):
                p = x[:, 0].mean((1, 2, 3))
                return torch.stack([p, 1 - p], 1)

        takes = Preprocessing((6, 6), mean=(0.0,) * 3, std=(1.0,) * 3, resize=(6, 6), frames=4)
        model = Model(Mean(), "video", takes)
        photo = photos(1, size=6)[0]
        red = torch.tensor(photo[..., 0] / 255)
        found = evaluate_heatmap(model, photo, heatmap_of(model, photo, red), steps=36, draws=2)
        ordered = sorted(red.flatten().tolist(), reverse=True)
        expected = [sum(ordered[k:]) / 36 for k in range(37)]
        np.testing.assert_allclose(found.curves["deletion"].values[0], expected, atol=1e-6)


class TestRoad:
    def test_it_fills_in_the_most_and_the_least_relevant(self):
        net, x, _ = additive(3, 10, 10)
        places = torch.randperm(100).view(1, 10, 10).int()
        question = Question(net, x, 0)
        most, least = road(question, places, torch.zeros(3, 10, 10))
        for index, share in enumerate(ROAD_SHARES):
            count = round(share * 100)
            for got, missing in ((most, places[0] < count), (least, places[0] >= 100 - count)):
                filled = harmonic_by_hand(x[0], missing)
                assert float(got[0, index]) == pytest.approx(float((net.weight.detach() * filled).sum()), abs=2e-3)

    def test_its_number_is_the_mean_difference(self, model):
        photo = photos(1)[0]
        found = evaluate_heatmap(model, photo, heatmap_of(model, photo, torch.randn(4, 4)), draws=3)
        most, least = found.curves["road_most"], found.curves["road_least"]
        torch.testing.assert_close(found.road, (least.values - most.values).mean(1))
        torch.testing.assert_close(found.scores["road"].random, (least.random - most.random).mean(2))

    def test_it_rewards_the_true_map_where_one_place_decides(self):
        weight = torch.zeros(1, 12, 12)
        weight[:, :4, :4] = 1 / 16
        x = torch.rand(1, 1, 12, 12) * 0.1
        x[..., :4, :4] = 1.0
        net = Additive(weight)
        found = evaluate_heatmap(net, x, heatmap_of(net, x, weight[0] + torch.rand(12, 12) / 1e3), draws=32)
        assert float(found.road) > 0.3
        assert float(found.scores["road"].gain) > 0.2
        upside_down = evaluate_heatmap(net, x, heatmap_of(net, x, -weight[0] + torch.rand(12, 12) / 1e3), draws=32)
        assert float(upside_down.scores["road"].gain) < -0.2


class TestScores:
    def test_the_same_evidence_drops_as_much_whether_the_method_rectifies_or_not(self):
        net, x, _ = additive(3, 8, 8)
        raw = torch.randn(2, 2)
        signed, rectified = (heatmap_of(net, x, each, signed=each is raw) for each in (raw, raw.relu()))
        drops = [float(evaluate_heatmap(net, x, each, draws=2).average_drop) for each in (signed, rectified)]
        assert drops[0] == pytest.approx(drops[1])

    def test_average_drop_by_hand(self):
        net, x, terms = additive(3, 4, 4)
        raw = torch.rand(4, 4)
        found = evaluate_heatmap(net, x, heatmap_of(net, x, raw), draws=2)
        shown = float((terms * raw / raw.max()).sum())
        assert float(found.average_drop) == pytest.approx(1 - shown / float(terms.sum()), abs=1e-6)
        assert float(found.increase) == 0

    def test_what_speaks_against_the_target_is_not_shown(self):
        net, x, terms = additive(1, 4, 4)
        raw = torch.ones(4, 4)
        raw[:2] = -1
        found = evaluate_heatmap(net, x, heatmap_of(net, x, raw), draws=2)
        assert float(found.average_drop) == pytest.approx(float(terms[:2].sum() / terms.sum()), abs=1e-6)

    def test_increase_where_confidence_grows(self):
        net, x, _ = additive(1, 4, 4)
        hidden = evaluate_heatmap(net, x, heatmap_of(net, x, torch.zeros(4, 4), 1), draws=2)
        assert (float(hidden.average_drop), float(hidden.increase)) == (0, 1)  # class 1 is what is left

    def test_sensitivity_n_is_one_for_the_terms_of_a_sum(self):
        net, x, terms = additive(3, 20, 17)
        found = evaluate_heatmap(net, x, heatmap_of(net, x, terms), draws=4)
        assert float(found.sensitivity_n) == pytest.approx(1, abs=1e-4)
        assert float(evaluate_heatmap(net, x, heatmap_of(net, x, -terms), draws=2).sensitivity_n) == pytest.approx(
            -1, abs=1e-4
        )
        assert bool((found.scores["sensitivity_n"].random.abs() < 0.9).all())

    def test_a_flat_map_is_worth_what_a_random_one_is(self):
        net, x, _ = additive(1, 8, 8)
        found = evaluate_heatmap(net, x, heatmap_of(net, x, torch.ones(8, 8)), draws=50)
        for name, score in found.scores.items():
            assert abs(float(score.gain)) <= 3 * (float(score.spread) or 1e-9), name
        assert float(found.sensitivity_n) == 0
        assert found.scores["average_drop"].verdict(0) == "no better than random"

    def test_the_true_map_is_better_than_random_and_its_opposite_worse(self):
        net, x, terms = additive(1, 8, 8)
        names = ("deletion", "insertion", "sensitivity_n")
        true = evaluate_heatmap(net, x, heatmap_of(net, x, terms), draws=16)
        assert {true.scores[name].verdict(0) for name in names} == {"better than random"}
        false = evaluate_heatmap(net, x, heatmap_of(net, x, terms.max() - terms), draws=16)
        assert {false.scores[name].verdict(0) for name in names} == {"worse than random"}

    def test_z_is_the_gain_in_standard_deviations(self):
        net, x, terms = additive(1, 6, 6)
        found = evaluate_heatmap(net, x, heatmap_of(net, x, terms), draws=5)
        for name, higher in (("deletion", False), ("insertion", True)):
            score = found.scores[name]
            draws = score.random[0].double().numpy()
            gain = float(score.value[0]) - draws.mean()
            assert float(score.z[0]) == pytest.approx((gain if higher else -gain) / draws.std(ddof=1), rel=1e-3)


class TestWhatIsMeasured:
    def test_a_batch_gives_what_each_photo_gives(self, model):
        several = photos(3)
        raws = torch.randn(3, 4, 4)
        together = evaluate_heatmap(model, several, heatmap_of(model, several, raws, (0, 3, 1)), draws=3)
        assert len(together) == 3
        for index, photo in enumerate(several):
            alone = evaluate_heatmap(model, photo, heatmap_of(model, photo, raws[index], (0, 3, 1)[index]), draws=3)
            for name in NAMES:
                torch.testing.assert_close(together.scores[name].value[index], alone.scores[name].value[0])
                torch.testing.assert_close(together.scores[name].random[index], alone.scores[name].random[0])
            for name, curve in together.curves.items():
                torch.testing.assert_close(curve.values[index], alone.curves[name].values[0])

    def test_several_heatmaps_give_what_each_gives_and_share_work(self):
        net, x, terms = additive(1, 6, 6)
        heatmaps = [heatmap_of(net, x, terms), heatmap_of(net, x, torch.randn(3, 3)), heatmap_of(net, x, terms, 1)]
        together = evaluate_heatmap(net, x, heatmaps, draws=2)
        shared, net.images = net.images, 0
        alone = [evaluate_heatmap(net, x, heatmap, draws=2) for heatmap in heatmaps]
        assert shared < net.images
        for one, other in zip(together, alone, strict=True):
            assert one.numbers == other.numbers

    def test_heatmaps_as_coarse_share_their_random_maps_and_keep_figures_of_their_own(self, model):
        photo = photos(1)[0]
        drawn = (torch.randn(4, 4, generator=torch.Generator().manual_seed(seed)) for seed in range(40))
        raws = [raw for raw in drawn if coarseness(raw) == (4, 4, 0, 0)][:3]
        heatmaps = [heatmap_of(model, photo, raw, 2) for raw in raws]
        other = heatmap_of(model, photo, torch.nn.functional.interpolate(raws[0][None, None], (16, 16))[0, 0], 2)
        *together, finer = evaluate_heatmap(model, photo, [*heatmaps, other], draws=3)
        alone = [evaluate_heatmap(model, photo, each, draws=3) for each in (*heatmaps, other)]
        for one, own in zip([*together, finer], alone, strict=True):
            for name in NAMES:
                torch.testing.assert_close(one.scores[name].value, own.scores[name].value, atol=1e-6, rtol=0)
            for name, curve in one.curves.items():
                torch.testing.assert_close(curve.values, own.curves[name].values, atol=1e-6, rtol=0)
        first, second, third = together
        for name, curve in first.curves.items():
            assert torch.equal(curve.random, second.curves[name].random)
            assert torch.equal(curve.random, third.curves[name].random)
            assert not torch.equal(curve.random, finer.curves[name].random)
        # What is of values is of each one's own values, in the places of the shared orders.
        assert not torch.equal(first.scores["average_drop"].random, second.scores["average_drop"].random)
        assert finer.numbers == alone[-1].numbers

    def test_sharing_costs_less_the_more_there_are(self):
        net, x, _ = additive(1, 6, 6)
        heatmaps = [heatmap_of(net, x, torch.randn(3, 3)) for _ in range(6)]
        evaluate_heatmap(net, x, heatmaps[:1], steps=8, draws=2)
        one, net.images = net.images, 0
        evaluate_heatmap(net, x, heatmaps, steps=8, draws=2)
        assert net.images < 0.45 * 6 * one

    def test_seeds_repeat(self, model):
        photo = photos(1)[0]
        heatmap = heatmap_of(model, photo, torch.randn(4, 4).relu())
        first, again, other = (evaluate_heatmap(model, photo, heatmap, draws=2, seed=seed) for seed in (1, 1, 2))
        assert first.numbers == again.numbers
        assert not torch.equal(first.scores["deletion"].random, other.scores["deletion"].random)

    def test_nothing_of_the_network_changes_nor_the_global_seed(self):
        net = SmallNet().train()
        net.norm.eval()
        photo = photos(1)[0]
        model = viztool.wrap_model(net, size=16)
        model.net(model.preprocess(photo)).sum().backward()
        before = {name: value.clone() for name, value in net.state_dict().items()}
        grads = [parameter.grad.clone() for parameter in net.parameters()]
        modes = [module.training for module in net.modules()]
        heatmap = heatmap_of(model, photo, torch.randn(4, 4))
        state = torch.get_rng_state()
        evaluate_heatmap(model, photo, heatmap, draws=2)
        assert torch.equal(torch.get_rng_state(), state)
        assert [module.training for module in net.modules()] == modes
        assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
        for parameter, grad in zip(net.parameters(), grads, strict=True):
            assert torch.equal(parameter.grad, grad)

    def test_a_score_of_ones_own(self):
        net, x, terms = additive(1, 5, 5)

        def square(output):
            return output[:, 0] ** 2

        found = evaluate_heatmap(net, x, heatmap_of(net, x, terms, None), steps=25, draws=2, target=square)
        ordered = sorted(terms.flatten().tolist(), reverse=True)
        expected = [sum(ordered[k:]) ** 2 for k in range(26)]
        np.testing.assert_allclose(found.curves["deletion"].values[0], expected, atol=1e-5)

    def test_the_average_drop_of_a_negative_score_is_not_defined(self):
        net, x, terms = additive(1, 5, 5)
        heatmap = heatmap_of(net, x, terms, None)
        found = evaluate_heatmap(net, x, heatmap, draws=2, target=lambda output: output[:, 0] - 2)
        assert math.isnan(float(found.average_drop))
        assert found.numbers["images"][0]["average_drop"] == {
            "value": None,
            "random": None,
            "spread": None,
            "z": None,
            "verdict": "not defined",
        }
        json.dumps(found.numbers, allow_nan=False)

    def test_a_detection_network_that_finds_nothing_any_more(self):
        class Detector(nn.Module):
            def forward(self, x):
                found = x.mean((1, 2, 3)) > 0.25
                scores = x.mean((1, 2, 3))
                return [
                    {"labels": torch.tensor([7, 3])[: 2 * int(yes)], "scores": score.repeat(2)[: 2 * int(yes)]}
                    for yes, score in zip(found, scores, strict=True)
                ]

        x = torch.rand(1, 3, 6, 6)
        found = evaluate_heatmap(Detector(), x, heatmap_of(Detector(), x, x[0].mean(0), 3), steps=36, draws=2)
        values = found.curves["deletion"].values[0]
        assert float(values[0]) == pytest.approx(float(x.mean()), abs=1e-6)
        assert float(values[-1]) == 0
        none = evaluate_heatmap(Detector(), x, heatmap_of(Detector(), x, x[0].mean(0), 5), draws=2)
        assert float(none.probability) == 0

    def test_half_precision(self):
        model = viztool.wrap_model(SmallNet().eval().bfloat16(), size=16, output="softmax")
        photo = photos(1)[0]
        found = evaluate_heatmap(model, photo, heatmap_of(model, photo, torch.randn(4, 4)), draws=2)
        with torch.no_grad():
            expected = model.net(model.preprocess(photo).bfloat16()).float().softmax(1)[0, 0]
        assert float(found.probability) == pytest.approx(float(expected), abs=1e-2)


class TestErrors:
    def test_other_photos(self, model):
        one, two = photos(2)
        heatmap = heatmap_of(model, one, torch.randn(4, 4))
        with pytest.raises(
            HeatmapError,
            match=r"^the heatmap is of another photo than number 0; give the one that it was made of$",
        ):
            evaluate_heatmap(model, two, heatmap)

    def test_another_number_of_photos(self, model):
        several = photos(2)
        heatmap = heatmap_of(model, several[0], torch.randn(4, 4))
        with pytest.raises(HeatmapError, match=r"^the heatmap is of 1 images, and 2 were given; give the same ones$"):
            evaluate_heatmap(model, several, heatmap)

    def test_another_size(self, model):
        photo = photos(1)[0]
        heatmap = heatmap_of(viztool.wrap_model(SmallNet(), size=(24, 20)), photo, torch.randn(4, 4))
        with pytest.raises(
            HeatmapError, match=r"^the heatmap is of an input of 24 × 20, and the network gets 16 × 16; make it anew$"
        ):
            evaluate_heatmap(model, photo, heatmap)

    def test_the_tensor_of_the_same_photo_will_do(self, model):
        photo = photos(1)[0]
        heatmap = heatmap_of(model, photo, torch.randn(4, 4))
        by_tensor = evaluate_heatmap(model, model.preprocess(photo), heatmap, draws=2)
        torch.testing.assert_close(by_tensor.deletion, evaluate_heatmap(model, photo, heatmap, draws=2).deletion)

    def test_of_a_bare_network_the_curves_are_of_scores(self, model):
        photo = photos(1)[0]
        x = model.preprocess(photo)
        found = evaluate_heatmap(model.net, x, heatmap_of(model, photo, torch.randn(4, 4), 2), draws=2)
        with torch.no_grad():
            clear, empty = (model.net(each)[0, 2] for each in (x, blank(x)))
        torch.testing.assert_close(found.curves["deletion"].values[0, [0, -1]], torch.stack([clear, empty]))
        entry = found.numbers["images"][0]
        assert entry["score"] == pytest.approx(float(clear))
        assert "probability" not in entry

    def test_a_score_that_is_not_known(self, model):
        photo = photos(1)[0]
        with pytest.raises(
            TargetError, match=r"^the heatmap is of class None, which is no class; pass that score as target=$"
        ):
            evaluate_heatmap(model, photo, heatmap_of(model, photo, torch.randn(4, 4), None))

    def test_a_network_that_breaks(self):
        class Broken(nn.Module):
            def forward(self, x):
                return torch.stack([(x.mean((1, 2, 3)) - 0.1).log(), x.mean((1, 2, 3))], 1)

        x = torch.rand(1, 3, 6, 6)
        with pytest.raises(
            ModelError, match=r"^the network's output is not finite on copies of the image with pixels taken out$"
        ):
            evaluate_heatmap(Broken(), x, heatmap_of(Broken(), x, torch.rand(6, 6)), draws=2)

    @pytest.mark.parametrize(("steps", "draws"), [(1, 8), (32, 1)])
    def test_too_few_steps_or_draws(self, model, steps, draws):
        photo = photos(1)[0]
        with pytest.raises(ViztoolError, match=rf"^steps and draws must be at least 2, got {steps} and {draws}$"):
            evaluate_heatmap(model, photo, heatmap_of(model, photo, torch.randn(4, 4)), steps=steps, draws=draws)


class TestResult:
    def test_its_numbers_are_those_of_its_scores(self, model):
        photo = photos(1)[0]
        found = evaluate_heatmap(model, photo, heatmap_of(model, photo, torch.randn(4, 4), 1), draws=3, seed=5)
        entry = json.loads(json.dumps(found.numbers, allow_nan=False))["images"][0]
        for name in NAMES:
            assert entry[name]["value"] == pytest.approx(float(getattr(found, name)))
            assert entry[name]["random"] == pytest.approx(float(found.scores[name].random.mean()))
        assert entry["curves"]["deletion"]["values"] == found.curves["deletion"].values[0].tolist()
        assert (found.numbers["seed"], found.numbers["random_maps"]) == (5, 3)

    def test_in_one_line(self):
        net, x, terms = additive(1, 6, 6)
        found = evaluate_heatmap(net, x, heatmap_of(net, x, terms), draws=2)
        insertion, deletion = found.scores["insertion"], found.scores["deletion"]
        assert found.summary() == (
            f"insertion {float(insertion.value):.2f} (random {float(insertion.random.mean()):.2f}) · "
            f"deletion {float(deletion.value):.2f} (random {float(deletion.random.mean()):.2f})"
        )
        assert found.in_words == found.summary()

    def test_its_arrays_are_the_curves(self, tmp_path):
        net, x, terms = additive(1, 6, 6)
        found = evaluate_heatmap(net, x, heatmap_of(net, x, terms), draws=2)
        with np.load(found.save_npz(tmp_path / "curves.npz")) as saved:
            np.testing.assert_array_equal(saved["deletion"], found.curves["deletion"].values)
            np.testing.assert_array_equal(saved["road_most_random"], found.curves["road_most"].random)
