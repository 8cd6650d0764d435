"""The randomisation checks: what the network has learnt is taken away from the top down, on a copy."""

import json
from functools import partial

import numpy as np
import pytest
import torch
from faithfulness_helpers import SmallNet, heatmap_of, photos
from torch import nn

import viztool
from viztool.errors import ModelError, ViztoolError
from viztool.faithfulness import randomize_labels, randomize_weights
from viztool.faithfulness.reinitialize import blocks_from_the_top, reinitialize
from viztool.render.raster import raster
from viztool.render.strip import Strip, StripSheet, StripTile, strip_sheet


def explain(model, photo, target=None, *, signed=True):
    """Gradient × input of the target's score, summed over channels; of the predicted class by default."""
    net = model.net
    x = torch.cat([model.preprocess(each) for each in (photo if isinstance(photo, list) else [photo])])
    x.requires_grad_()
    net.eval()
    scores = net(x)
    labels = scores.argmax(1).tolist() if target is None else target
    score = scores[range(len(labels)), labels].sum()
    gradient = torch.autograd.grad(score, x)[0]
    raw = (gradient * x).sum(1)
    return heatmap_of(model, photo, raw if signed else raw.abs(), labels, signed=signed, method="gradient × input")


def of_the_photo_alone(model, photo, target=None):
    """A map that asks nothing of the network, as an edge detector."""
    return heatmap_of(model, photo, model.preprocess(photo)[0].mean(0), target or [0])


@pytest.fixture
def model():
    return viztool.wrap_model(SmallNet().eval(), size=16, mean=0.5, std=0.5, classes=["a", "b", "c", "d", "e"])


class TestWeights:
    def test_it_goes_from_the_top_down(self, model):
        found = randomize_weights(model, photos(1)[0], explain)
        assert found.steps == ("as trained", "head", "block.2", "block.0", "norm", "stem")

    def test_with_nothing_changed_the_map_is_the_same_and_then_it_falls_apart(self, model):
        found = randomize_weights(model, photos(1)[0], explain)
        for alike in (found.spearman, found.spearman_absolute, found.ssim):
            assert alike.shape == (6, 1)
            assert float(alike[0]) == pytest.approx(1)
        assert float(found.spearman[-1].abs()) < 0.5

    def test_a_map_of_the_photo_alone_is_found_out(self, model):
        found = randomize_weights(model, photos(1)[0], of_the_photo_alone)
        torch.testing.assert_close(found.spearman, torch.ones(6, 1))
        torch.testing.assert_close(found.ssim, torch.ones(6, 1))

    def test_all_maps_are_of_the_layer_that_the_trained_network_chose(self):
        asked = []

        def explained(model, photo, target=None, layer=None):
            asked.append(layer)
            return viztool.class_activation_map(model, photo, "gradcam", target, layer or "1")

        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
        own = viztool.wrap_model(net.eval(), size=16, mean=0.5, std=0.5, classes=["a", "b", "c"])
        found = randomize_weights(own, photos(1)[0], explained)
        assert asked == [None] + [["1"]] * len(found.steps)
        asked.clear()
        randomize_weights(own, photos(1)[0], partial(explained, layer="0"))  # a layer of one's own stays
        assert set(asked) == {"0"}

    def test_the_users_network_is_not_touched(self):
        net = SmallNet().train()
        model = viztool.wrap_model(net, size=16, mean=0.5, std=0.5)
        before = {name: value.clone() for name, value in net.state_dict().items()}
        state = torch.get_rng_state()
        explainer = partial(class_map, touches=net)
        randomize_weights(model, photos(1)[0], explainer)
        assert torch.equal(torch.get_rng_state(), state)
        assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
        assert net.training

    def test_the_target_stays_that_of_the_trained_network(self, model):
        asked = []

        def listening(model, photo, target=None):
            asked.append(target)
            return explain(model, photo, target)

        photo = photos(1)[0]
        best = int(model.net(model.preprocess(photo)).argmax())
        randomize_weights(model, photo, listening)
        assert asked == [None, *[[best]] * 6]

    def test_seeds_repeat_and_batches_are_one_by_one(self, model):
        several = photos(2)
        together, again = (randomize_weights(model, several, explain, seed=3) for _ in range(2))
        assert together.numbers == again.numbers
        assert together.numbers != randomize_weights(model, several, explain, seed=4).numbers
        for index, photo in enumerate(several):
            alone = randomize_weights(model, photo, explain, seed=3)
            torch.testing.assert_close(together.spearman[:, index], alone.spearman[:, 0])

    def test_a_network_that_cannot_be_copied(self, model):
        model.net.head.cache = model.net.head.weight * 2  # no leaf: deepcopy refuses it
        with pytest.raises(
            ModelError, match=r"^the network cannot be copied, and its own weights are not to be touched: Only Tensors"
        ):
            randomize_weights(model, photos(1)[0], explain)

    def test_no_steps(self, model):
        with pytest.raises(ViztoolError, match=r"^steps must be at least 1, got 0$"):
            randomize_weights(model, photos(1)[0], explain, steps=0)


def class_map(model, photo, target=None, *, touches):
    """Fails if it is given the user's own network after the first time; the mode is left as it is."""
    if target is not None:
        assert model.net is not touches
    modes = [module.training for module in model.net.modules()]
    heatmap = explain(model, photo, target)
    for module, mode in zip(model.net.modules(), modes, strict=True):
        module.training = mode
    return heatmap


class TestBlocks:
    def test_at_most_that_many_and_the_largest_in_parts(self):
        net = nn.Sequential(
            nn.Conv2d(3, 4, 1),
            nn.Sequential(*(nn.Conv2d(4, 4, 1) for _ in range(4))),
            nn.Sequential(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)),
        ).eval()
        x = torch.zeros(1, 3, 4, 4)
        assert blocks_from_the_top(net, x, 1) == [""]
        assert blocks_from_the_top(net, x, 3) == ["2", "1", "0"]
        assert blocks_from_the_top(net, x, 6) == ["2", "1.3", "1.2", "1.1", "1.0", "0"]
        assert blocks_from_the_top(net, x, 99) == ["2.1", "2.0", "1.3", "1.2", "1.1", "1.0", "0"]

    def test_the_order_is_that_in_which_they_run(self):
        class Crossed(nn.Module):
            def __init__(self):
                super().__init__()
                self.last = nn.Conv2d(3, 3, 1)
                self.unused = nn.Conv2d(3, 3, 1)
                self.first = nn.Conv2d(3, 3, 1)

            def forward(self, x):
                return self.last(self.first(x))

        assert blocks_from_the_top(Crossed(), torch.zeros(1, 3, 4, 4), 9) == ["last", "first"]


class TestReinitialize:
    def test_every_parameter_is_new_and_each_once(self):
        net = SmallNet()
        net.norm.running_mean.fill_(3)
        before = {name: value.detach().clone() for name, value in net.named_parameters()}
        done = set()
        reinitialize(net, torch.Generator().manual_seed(0), done)
        for name, value in net.named_parameters():
            if name.startswith("norm"):
                assert torch.equal(value, torch.full_like(value, float(name.endswith("weight"))))
            else:
                assert not torch.equal(value, before[name]), name
        assert float(net.norm.running_mean.abs().max()) == 0
        after = {name: value.detach().clone() for name, value in net.named_parameters()}
        reinitialize(net, torch.Generator().manual_seed(1), done)
        assert all(torch.equal(value, after[name]) for name, value in net.named_parameters())

    def test_signals_neither_die_nor_explode(self):
        torch.manual_seed(0)
        net = nn.Sequential(*(layer for _ in range(30) for layer in (nn.Conv2d(32, 32, 3, padding=1), nn.ReLU())))
        for layer in net[::2]:
            nn.init.zeros_(layer.bias)
        x = torch.randn(1, 32, 16, 16)
        with torch.no_grad():
            assert float(net(x).std()) < 1e-6  # as torch draws them, they die
            reinitialize(net, torch.Generator().manual_seed(0), set())
            assert 0.01 < float(net(x).std()) < 100

    @pytest.mark.parametrize("groups", [1, 4])
    @pytest.mark.parametrize(("wide", "narrow", "stride"), [(64, 16, 1), (16, 64, 1), (32, 32, 2), (32, 32, (1, 2))])
    def test_a_transposed_convolution_doubles_the_variance_of_noise(self, wide, narrow, stride, groups):
        """As a ReLU will halve it: what a unit sums up counts, not over how many units an input is spread."""
        layer = nn.ConvTranspose2d(wide, narrow, 4, stride=stride, groups=groups, bias=False)
        reinitialize(layer, torch.Generator().manual_seed(0), set())
        x = torch.randn(8, wide, 24, 24, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            inside = layer(x)[..., 4:-4, 4:-4]
        assert float(inside.square().mean()) == pytest.approx(2, rel=0.1)

    def test_what_is_no_weight_keeps_its_values_in_another_order(self):
        class Tokens(nn.Module):
            def __init__(self):
                super().__init__()
                self.position = nn.Parameter(torch.randn(1, 50, 8))

        net = Tokens()
        before = net.position.detach().clone()
        reinitialize(net, torch.Generator().manual_seed(0), set())
        assert not torch.equal(net.position, before)
        assert torch.equal(net.position.flatten().sort().values, before.flatten().sort().values)


class TestLabels:
    def test_other_classes_stand_beside_the_target(self, model):
        photo = photos(1)[0]
        best = model.predict(photo, top=1)[0][0]
        found = randomize_labels(model, photo, explain, count=4)
        assert found.steps[0] == "the target"
        assert sorted(found.steps[1:]) == sorted(set("abcde") - {best})
        assert float(found.spearman[0]) == pytest.approx(1)
        for step, heatmap in zip(found.steps[1:], found.maps[1:], strict=True):
            expected = explain(model, photo, ["abcde".index(step)])
            torch.testing.assert_close(heatmap.raw, expected.raw)
        assert bool((found.spearman[1:] < 0.99).all())

    def test_a_map_that_is_the_same_for_every_class_is_found_out(self, model):
        found = randomize_labels(model, photos(1)[0], of_the_photo_alone, count=3)
        torch.testing.assert_close(found.spearman, torch.ones(4, 1))

    def test_each_image_gets_other_classes_than_its_own(self, model):
        found = randomize_labels(model, photos(3), explain, count=4)
        for index, own in enumerate(found.original.classes):
            assert sorted([own, *(heatmap.classes[index] for heatmap in found.maps[1:])]) == [0, 1, 2, 3, 4]

    @pytest.mark.parametrize("count", [0, 5])
    def test_more_classes_than_there_are(self, model, count):
        with pytest.raises(
            ViztoolError, match=rf"^count must be from 1 to 4, the number of other classes; got {count}$"
        ):
            randomize_labels(model, photos(1)[0], explain, count=count)

    def test_a_score_that_is_no_class(self, model):
        def own(model, photo, target=None):
            return heatmap_of(model, photo, torch.rand(16, 16), None)

        with pytest.raises(
            ViztoolError, match=r"^the map is of class None, which is no class; there are no others to compare with$"
        ):
            randomize_labels(model, photos(1)[0], own)


class TestResult:
    def test_numbers_arrays_and_words(self, model, tmp_path):
        found = randomize_weights(model, photos(2), explain, steps=2)
        numbers = json.loads(json.dumps(found.numbers, allow_nan=False))
        assert numbers["check"] == "weights randomised"
        assert numbers["images"][1]["spearman"] == pytest.approx(found.spearman[:, 1].tolist())
        assert list(found.arrays) == [f"{index} {step}" for index, step in enumerate(found.steps)]
        assert found.in_words.startswith("rank correlation with the original: as trained 1.00, ")

    def test_the_strip_has_a_tile_for_the_photo_and_each_step(self, model):
        one = randomize_weights(model, photos(1)[0], explain, steps=5).picture()
        two = randomize_weights(model, photos(2), explain, steps=5).picture()
        assert one.shape[1] == two.shape[1] == 1340
        assert two.shape[0] > one.shape[0]


class TestStrip:
    def test_tiles_stand_side_by_side_and_wrap(self):
        rng = np.random.default_rng(0)
        tiles = [StripTile(f"layer {n}", "ρ 1.00", rng.integers(0, 200, (20, 20, 3), np.uint8)) for n in range(11)]
        picture = raster(
            strip_sheet(StripSheet("title", "subtitle", ["note"], [Strip("cat.jpg", "gradcam", tiles)], "footer"))
        )
        one_row = raster(
            strip_sheet(StripSheet("title", "subtitle", ["note"], [Strip("cat.jpg", "g", tiles[:8])], "footer"))
        )
        assert picture.shape[1] == one_row.shape[1] == 1340
        assert picture.shape[0] - one_row.shape[0] > 145

    def test_a_tile_shows_its_picture(self):
        red = np.full((10, 10, 3), (200, 10, 10), np.uint8)
        picture = raster(strip_sheet(StripSheet("t", "s", [], [Strip("a", "b", [StripTile("n", "l", red)])], "f")))
        at = np.argwhere((picture == (200, 10, 10)).all(2))
        assert np.ptp(at[:, 0]) == np.ptp(at[:, 1]) > 130
