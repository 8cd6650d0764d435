"""Methods over many photos: means, errors, and an order that coarseness cannot buy."""

import json
import math
import re

import numpy as np
import pytest
import torch
from faithfulness_helpers import additive, heatmap_of

from viztool.faithfulness import evaluate_heatmap
from viztool.faithfulness.ranking import Ranking, Trial, trials
from viztool.faithfulness.result import NAMES

SHARES = torch.linspace(0, 1, 5)


def trial(method, photo, insertion, deletion, chance=(0.3, 0.4), **scores):
    """One with these numbers; the others are 0."""
    known = {**dict.fromkeys(NAMES, 0.0), "insertion": insertion, "deletion": deletion, **scores}
    chances = {**dict.fromkeys(NAMES, 0.0), "insertion": chance[0], "deletion": chance[1]}
    curve = SHARES, torch.full((5,), insertion), torch.full((5,), chance[0])
    names = ("deletion", "insertion", "road_most", "road_least")
    return Trial(method, ("layer4",), photo, "cat", 0.9, "probability", known, chances, dict.fromkeys(names, curve))


def ranking(*several, **rest):
    return Ranking(several, "resnet50", "random weights", "resize 256, crop 224", 0, **rest)


class TestTrials:
    def test_they_hold_what_the_evaluation_says_of_each_image(self):
        net, _, terms = additive(1, 6, 6)
        x = torch.rand(2, 1, 6, 6)
        found = evaluate_heatmap(net, x, heatmap_of(net, x, terms.expand(2, -1, -1), (0, 1)), draws=3)
        for index, each in enumerate(trials(found)):
            for name in NAMES:
                assert each.scores[name] == float(found.scores[name].value[index])
                assert each.chances[name] == pytest.approx(float(found.scores[name].random[index].mean()))
            assert each.gain == pytest.approx(
                float(found.scores["insertion"].gain[index] + found.scores["deletion"].gain[index]), abs=1e-6
            )
            assert (each.method, each.target) == ("by hand", f"class {index}")
            shares, values, random = each.curves["deletion"]
            torch.testing.assert_close(shares, found.curves["deletion"].shares)
            torch.testing.assert_close(values, found.curves["deletion"].values[index])
            torch.testing.assert_close(random, found.curves["deletion"].random[index].mean(0))


class TestRanking:
    def test_the_order_is_that_of_the_gain_over_ones_own_random_maps(self):
        fine = trial("fine", "a", 0.5, 0.1, chance=(0.5, 0.1))  # the best numbers, and no better than by chance
        coarse = trial("coarse", "a", 0.5, 0.3)
        bad = trial("bad", "a", 0.2, 0.5)
        found = ranking(bad, fine, coarse)
        assert found.methods == ["coarse", "fine", "bad"]
        assert [found.gain(method)[0] for method in found.methods] == pytest.approx([0.3, 0, -0.2])

    def test_means_and_standard_errors_by_hand(self):
        values = [0.2, 0.5, 0.8]
        found = ranking(*(trial("cam", name, value, 0.1) for name, value in zip("abc", values, strict=True)))
        mean, error = found.score("cam", "insertion")
        assert mean == pytest.approx(0.5)
        assert error == pytest.approx(np.std(values, ddof=1) / math.sqrt(3))
        assert found.gain("cam") == pytest.approx((0.5, error))
        assert found.score(None, "insertion") == pytest.approx((0.3, 0))

    def test_numbers_that_are_not_defined_do_not_count(self):
        found = ranking(
            trial("cam", "a", 0.5, 0.1, average_drop=math.nan), trial("cam", "b", 0.5, 0.1, average_drop=0.25)
        )
        assert found.score("cam", "average_drop")[0] == 0.25
        assert math.isnan(found.score("cam", "average_drop")[1])

    def test_the_table(self):
        found = ranking(trial("cam", "a", 0.5, 0.1), trial("cam", "b", 0.7, 0.1), trial("gradcam++", "a", 0.2, 0.6))
        rows = [re.split(r"\s{2,}", line) for line in str(found).splitlines()]
        assert rows == [
            ["method", "photos", "gain ↑", "deletion ↓", "insertion ↑", "drop ↓", "increase ↑", "ROAD ↑", "sens.-n ↑"],
            ["cam", "2", "0.60 ± 0.10", "0.10 ± 0.00", "0.60 ± 0.10", *["0.00 ± 0.00"] * 4],
            ["gradcam++", "1", "−0.30", "0.60", "0.20", *["0.00"] * 4],
            ["(random maps)", "3", "0.00", "0.40 ± 0.00", "0.30 ± 0.00", *["0.00 ± 0.00"] * 4],
        ]
        assert len({len(line) for line in str(found).splitlines()}) == 1
        assert found.in_words == str(found)

    def test_numbers_and_arrays(self, tmp_path):
        found = ranking(trial("cam", "a", 0.5, 0.1), trial("cam", "b", 0.7, 0.1), failed={"x": "needs a layer"})
        numbers = json.loads(json.dumps(found.numbers, allow_nan=False))
        assert numbers["methods"][0]["gain"] == {"mean": pytest.approx(0.6), "standard_error": pytest.approx(0.1)}
        assert numbers["methods"][0]["curves"]["insertion"]["values"] == pytest.approx([0.6] * 5)
        assert numbers["random_maps"]["deletion"]["mean"] == pytest.approx(0.4)
        assert [photo["source"] for photo in numbers["photos"]] == ["a", "b"]
        assert numbers["failed"] == {"x": "needs a layer"}
        with np.load(found.save_npz(tmp_path / "curves.npz")) as saved:
            np.testing.assert_allclose(saved["cam/insertion"], [[0.5] * 5, [0.7] * 5])

    def test_the_picture_has_a_band_for_each_method(self):
        one = ranking(trial("cam", "a", 0.5, 0.1)).picture()
        two = ranking(trial("cam", "a", 0.5, 0.1), trial("gradcam", "a", 0.4, 0.1)).picture()
        assert one.shape[1] == two.shape[1] == 1340
        assert two.shape[0] - one.shape[0] > 250
