"""Objectives: their values by hand, their gradients by finite differences, and how they add."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from viztool.errors import LayerError
from viztool.kernels import objectives as o
from viztool.kernels.objectives import OUTPUT, Objective, View

MAPS = torch.rand(3, 4, 5, 6, dtype=torch.float64) - 0.3
VECTOR = torch.randn(4, dtype=torch.float64)
REFERENCE = torch.rand(4, 5, 6, dtype=torch.float64)


def everything() -> dict[str, Objective]:
    torch.manual_seed(3)
    return {
        "channel": o.channel("a", 1),
        "neuron": o.neuron("a", 2),
        "neuron at": o.neuron("a", 2, 0, 5),
        "direction": o.direction("a", VECTOR),
        "direction, cosine": o.direction("a", VECTOR, cosine=2),
        "spatial direction": o.spatial_direction("a", VECTOR, 1, 2, cosine=1),
        "logit": o.logit(3),
        "layer": o.layer_energy("a"),
        "interpolation": o.interpolation(o.channel("a", 0), o.channel("a", 3)),
        "diversity": o.diversity("a"),
        "caricature": o.caricature("a", REFERENCE),
        "caricature of another size": o.caricature("a", REFERENCE[:, :3, :4]),
        "inversion": o.activation_match("a", REFERENCE),
        "total variation": o.total_variation(),
        "L1": o.l1(),
        "L2": o.l2(),
        "blur": o.blur(),
        "negative": -o.channel("a", 1),
        "mixed": 2 * (o.channel("a", 1) + o.logit(0)) / 3 - 0.1 * o.total_variation(),
    }


def view(image: Tensor, maps: Tensor) -> View:
    return View(image, {"a": maps, OUTPUT: maps.mean((2, 3))[..., None, None]})


@pytest.mark.parametrize("name", everything())
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    torch.manual_seed(0)
    objective = everything()[name]
    image = torch.rand(3, 3, 5, 6, dtype=torch.float64, requires_grad=True)
    maps = (torch.rand(3, 4, 5, 6, dtype=torch.float64) - 0.3).requires_grad_()
    assert objective.score(view(image, maps)).shape == (3,)
    # All-zero inputs catch an objective that multiplies by what it should not.
    assert torch.autograd.gradcheck(
        lambda image, maps: objective.score(view(image, maps)) + 0 * maps.sum(), (image, maps)
    )


class TestValues:
    def score(self, objective: Objective, image: Tensor | None = None) -> Tensor:
        return objective.score(view(torch.full((3, 3, 5, 6), 0.5) if image is None else image, MAPS))

    def test_channel_neuron_and_logit(self) -> None:
        torch.testing.assert_close(self.score(o.channel("a", 1)), MAPS[:, 1].mean((1, 2)))
        torch.testing.assert_close(self.score(o.neuron("a", 2)), MAPS[:, 2, 2, 3])
        torch.testing.assert_close(self.score(o.neuron("a", 2, 0, -1)), MAPS[:, 2, 0, 5])
        torch.testing.assert_close(self.score(o.logit(3)), MAPS[:, 3].mean((1, 2)))

    def test_directions(self) -> None:
        product = torch.einsum("nchw,c->nhw", MAPS, VECTOR)
        torch.testing.assert_close(self.score(o.direction("a", VECTOR)), product.mean((1, 2)))
        torch.testing.assert_close(self.score(o.spatial_direction("a", VECTOR)), product[:, 2, 3])
        one = torch.eye(4, dtype=torch.float64)[1]
        torch.testing.assert_close(self.score(o.direction("a", one)), self.score(o.channel("a", 1)))

    def test_a_picture_that_shows_the_photo_is_its_best_inversion(self) -> None:
        maps = REFERENCE[None].repeat(3, 1, 1, 1)
        maps[1] += 0.1
        score = o.activation_match("a", REFERENCE).score(view(torch.rand(3, 3, 5, 6), maps))
        assert score[0] == score[2] == 0
        torch.testing.assert_close(score[1], -0.01 * REFERENCE.numel() / REFERENCE.square().sum())

    def test_interpolation_goes_from_one_to_the_other(self) -> None:
        first, second = self.score(o.channel("a", 0)), self.score(o.channel("a", 3))
        mixed = self.score(o.interpolation(o.channel("a", 0), o.channel("a", 3)))
        torch.testing.assert_close(mixed, torch.stack([first[0], (first[1] + second[1]) / 2, second[2]]))

    def test_diversity_is_worst_of_pictures_that_are_the_same(self) -> None:
        same = MAPS[:1].repeat(3, 1, 1, 1)
        worst = o.diversity("a").score(view(torch.rand(3, 3, 5, 6), same))
        torch.testing.assert_close(worst, -torch.ones(3, dtype=torch.float64))
        assert bool((self.score(o.diversity("a")) > -1).all())

    def test_penalties_of_a_flat_picture_are_zero_and_of_stripes_are_known(self) -> None:
        for penalty in (o.total_variation(), o.l1(), o.l2(), o.blur()):
            assert float(self.score(penalty).abs().max()) < 1e-12
        stripes = torch.zeros(1, 1, 4, 6, dtype=torch.float64)
        stripes[..., ::2] = 1
        seen = View(stripes, {})
        assert o.total_variation().score(seen).item() == 1
        assert o.l1().score(seen).item() == 0.5
        assert o.l2().score(seen).item() == 0.25
        inside = 0.25  # black beside two whites: half of each, squared
        assert o.blur().score(seen).item() == pytest.approx((4 * inside + 2 * 0.25**2) / 6)

    def test_they_add_and_scale_like_numbers(self) -> None:
        a, b = o.channel("a", 0), o.channel("a", 1)
        x, y = self.score(a), self.score(b)
        torch.testing.assert_close(self.score(2 * a - b / 4), 2 * x - y / 4)
        torch.testing.assert_close(self.score(-(a + b) * 3), -3 * (x + y))
        assert (a - o.logit(1)).layers == {"a", OUTPUT}


def test_names_say_what_is_wanted() -> None:
    wanted = o.channel("blocks.4", 3) - 0.1 * o.total_variation()
    assert str(wanted) == "blocks.4 #3 - 0.1 * total variation"
    assert str(-(o.channel("a", 1) + o.logit(2))) == "-(a #1 + class 2)"


def test_a_channel_or_place_that_is_not_there() -> None:
    seen = view(torch.rand(3, 3, 5, 6), MAPS)
    with pytest.raises(LayerError, match=r"^layer 'a' has 4 channels, 0 to 3, and no 4$"):
        o.channel("a", 4).score(seen)
    with pytest.raises(LayerError, match=r"^layer 'a' has 5 × 6 positions here, and no 5, 3$"):
        o.neuron("a", 0, 5).score(seen)
