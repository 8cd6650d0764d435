"""Feature maps are the network's own, ranked by what the sheet says, and honest about what shows nothing."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import viztool
from viztool.errors import LayerError, ModelError
from viztool.render.colormaps import NOT_A_NUMBER

rng = np.random.default_rng(0)
PHOTO = rng.integers(0, 256, (90, 120, 3), np.uint8)


class Net(nn.Module):
    """Three resolutions; channel 1 of `first` is dead after its ReLU, channel 2 always 0.5."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.second = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.third = nn.Conv2d(8, 20, 3, stride=2, padding=1)
        self.head = nn.Linear(20, 4)
        self.forwards = 0
        with torch.no_grad():
            self.first.weight[1:3] = 0
            self.first.bias[1], self.first.bias[2] = -1.0, 0.5

    def forward(self, x):
        self.forwards += 1
        x = self.relu(self.first(x))
        x = self.third(self.second(x))
        return self.head(x.mean((2, 3)))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net().eval()


@pytest.fixture
def model(net):
    return viztool.wrap_model(net, size=32, mean=0.5, std=0.5, classes=["a", "b", "c", "d"])


def by_hand(net, x):
    """What each layer puts out, by calling them oneself."""
    with torch.no_grad():
        first = net.first(x)
        relu = first.clamp_min(0)
        second = net.second(relu)
        return {"first": first, "relu": relu, "second": second, "third": net.third(second)}


class TestMaps:
    def test_they_are_what_the_layers_put_out_in_one_forward(self, model, net):
        result = viztool.feature_maps(model, PHOTO, ["first", "relu", "second", "third"])
        assert net.forwards == 1
        expected = by_hand(net, model.preprocess(PHOTO))
        assert [layer.name for layer in result.layers] == list(expected)
        for layer in result.layers:
            np.testing.assert_array_equal(layer.maps, expected[layer.name][0].numpy())

    def test_by_default_the_last_layer_at_each_resolution(self, model):
        result = viztool.feature_maps(model, PHOTO)
        assert [(layer.name, layer.maps.shape) for layer in result.layers] == [
            ("relu", (6, 32, 32)),
            ("second", (8, 16, 16)),
            ("third", (20, 8, 8)),
        ]

    def test_channels_are_ranked_by_the_standard_deviation_over_positions(self, model):
        layer = viztool.feature_maps(model, PHOTO, "third", top=5)["third"]
        sd = layer.maps.astype(np.float64).std(axis=(1, 2))
        assert list(layer.channels) == np.argsort(-sd)[:5].tolist()
        np.testing.assert_allclose(layer.statistics.sd, sd, rtol=1e-5)
        np.testing.assert_array_equal(layer.statistics.low, layer.maps.min((1, 2)))
        np.testing.assert_array_equal(layer.statistics.high, layer.maps.max((1, 2)))

    def test_all_channels_with_top_none(self, model):
        assert sorted(viztool.feature_maps(model, PHOTO, "third", top=None)["third"].channels) == list(range(20))

    def test_a_batch_gives_what_each_photo_gives(self, model):
        photos = [PHOTO, PHOTO[::-1].copy(), PHOTO[:50]]
        together = viztool.feature_maps(model, photos)
        assert len(together) == 3
        for photo, result in zip(photos, together, strict=True):
            assert result.numbers == viztool.feature_maps(model, photo).numbers

    def test_a_bare_network_takes_a_normalised_tensor(self, model, net):
        x = model.preprocess(PHOTO)
        single = viztool.feature_maps(net, x)
        np.testing.assert_array_equal(single["third"].maps, viztool.feature_maps(model, PHOTO)["third"].maps)
        assert single.predictions.unit == "score"  # of a bare network nobody knows what its output says
        assert [name for name, _ in single.predictions] == [
            f"class {'abcd'.index(name)}" for name, _ in viztool.feature_maps(model, PHOTO).predictions
        ]
        pair = viztool.feature_maps(net, torch.cat([x, -x]))
        assert len(pair) == 2
        np.testing.assert_allclose(pair[0]["third"].maps, single["third"].maps, atol=1e-6)

    def test_the_prediction_is_the_networks_own(self, model):
        assert list(viztool.feature_maps(model, PHOTO).predictions) == model.predict(PHOTO)

    def test_receptive_fields_come_from_the_same_forward(self, model):
        fields = {layer.name: layer.field for layer in viztool.feature_maps(model, PHOTO).layers}
        assert (fields["relu"].size, fields["relu"].stride) == ((3, 3), (1, 1))
        assert (fields["second"].size, fields["second"].stride) == ((5, 5), (2, 2))
        assert (fields["third"].size, fields["third"].stride, fields["third"].offset) == ((9, 9), (4, 4), (-4, -4))

    def test_tokens_are_drawn_as_maps(self):
        import timm

        net = timm.create_model("vit_tiny_patch16_224", img_size=64).eval()
        result = viztool.feature_maps(net, torch.randn(1, 3, 64, 64))
        assert [layer.name for layer in result.layers] == ["blocks.2", "blocks.5", "blocks.8", "blocks.11"]
        assert all(layer.maps.shape == (192, 4, 4) for layer in result.layers)

    def test_half_precision(self, model, net):
        exact = viztool.feature_maps(model, PHOTO)["third"].maps
        net.bfloat16()
        maps = viztool.feature_maps(model, PHOTO)["third"].maps
        assert maps.dtype == np.float32
        np.testing.assert_allclose(maps, exact, atol=0.03 * np.abs(exact).max())


class TestWhatShowsNothing:
    def test_dead_and_constant_channels_come_last_and_are_counted(self, model):
        layer = viztool.feature_maps(model, PHOTO, "relu")["relu"]
        assert (layer.dead, layer.constant, layer.not_finite) == (1, 1, 0)
        assert set(layer.channels[-2:]) == {1, 2}

    def test_they_are_marked_and_not_stretched(self, model):
        result = viztool.feature_maps(model, PHOTO, "relu")
        tiles = {tile.label: tile for tile in result._sheet().bands[0].tiles}
        assert tiles["#1"].mark == "dead"
        assert tiles["#2"].mark == "always 0.5"
        assert all(tile.mark is None for label, tile in tiles.items() if label not in ("#1", "#2"))

    def test_not_a_number_is_marked_and_spoils_nothing_else(self, model, net):
        clean = viztool.feature_maps(model, PHOTO, "second")["second"]
        with torch.no_grad():
            net.second.weight[3] = float("nan")
        result = viztool.feature_maps(model, PHOTO, ["second"])
        layer = result["second"]
        assert layer.not_finite == 1
        assert layer.channels[-1] == 3
        assert layer.limit() == np.abs(np.delete(clean.maps, 3, axis=0)).max()
        assert next(t for t in result._sheet().bands[0].tiles if t.label == "#3").mark == "not finite"
        assert not result.predictions
        assert "not finite" in result.verdict
        assert not (result.picture() == NOT_A_NUMBER).all(axis=2).any()
        json.dumps(result.numbers, allow_nan=False)


class TestScale:
    def test_a_channel_has_its_own_or_the_layers(self, model):
        own = viztool.feature_maps(model, PHOTO, "third")
        shared = viztool.feature_maps(model, PHOTO, "third", normalize="layer")
        maps = own["third"].maps
        assert {tile.limit for tile in shared._sheet().bands[0].tiles} == {float(np.abs(maps).max())}
        for tile in own._sheet().bands[0].tiles:
            assert tile.limit == np.abs(maps[int(tile.label[1:])]).max()
        assert shared._sheet().bands[0].bar == (f"−{np.abs(maps).max():.3g}", "0", f"{np.abs(maps).max():.3g}")

    def test_the_scale_goes_below_zero_only_where_the_layer_does(self, model):
        result = viztool.feature_maps(model, PHOTO, ["first", "relu"])
        assert result["first"].signed
        assert not result["relu"].signed
        assert [band.bar for band in result._sheet().bands] == [("−max", "0", "max"), ("0", "", "max")]

    def test_overlay_lays_the_maps_over_what_the_network_was_given(self, model):
        sheet = viztool.feature_maps(model, PHOTO, overlay=True)._sheet()
        np.testing.assert_array_equal(sheet.under, model.view(PHOTO))


class TestNetworkIsLeftAlone:
    def test_after_success_and_after_an_error(self, model, net):
        net.train()
        net.second.eval()
        net.first.weight.grad = torch.ones_like(net.first.weight)
        before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
        modes = [module.training for module in net.modules()]
        viztool.feature_maps(model, PHOTO)
        with pytest.raises(LayerError):
            viztool.feature_maps(model, PHOTO, "no such layer")
        assert [module.training for module in net.modules()] == modes
        assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
        assert (net.first.weight.grad == 1).all()
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())

    def test_batch_norm_in_training_mode_is_not_moved(self):
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
        viztool.feature_maps(net, torch.randn(1, 3, 16, 16), "1")
        assert net[1].num_batches_tracked == 0
        assert (net[1].running_mean == 0).all()


class TestErrors:
    def test_unknown_layer(self, model):
        with pytest.raises(LayerError, match=r"^no layer matches 'secnod'; nearest: second$"):
            viztool.feature_maps(model, PHOTO, "secnod")

    def test_a_layer_without_maps(self, model):
        with pytest.raises(LayerError, match=r"^layer 'head' puts out no maps \(channels of height × width\); choose"):
            viztool.feature_maps(model, PHOTO, ["second", "head"])

    def test_a_pattern_that_also_picks_layers_without_maps(self, model):
        result = viztool.feature_maps(model, PHOTO, "*")
        assert result.without_maps == ("head",)
        assert "Without maps to draw: head." in result._sheet().header.notes

    def test_a_photo_needs_a_model(self, net):
        with pytest.raises(
            ModelError, match=r"^a bare network needs a normalised tensor \(N, C, H, W\); for a photo, use"
        ):
            viztool.feature_maps(net, PHOTO)

    def test_a_network_without_maps(self):
        net = nn.Sequential(nn.Flatten(), nn.Linear(48, 2))
        with pytest.raises(LayerError, match=r"^no|^nothing"):
            viztool.feature_maps(net, torch.randn(1, 3, 4, 4))

    def test_an_input_that_does_not_fit(self, net):
        with pytest.raises(ModelError, match=r"^Net cannot run on an input of \(1, 2, 8, 8\): .*; try another size$"):
            viztool.feature_maps(net, torch.randn(1, 2, 8, 8))

    @pytest.mark.parametrize("photo", ["cat.jpg", None, PHOTO[..., 0]])
    def test_what_is_no_photo(self, model, photo):
        with pytest.raises(ModelError, match=r"^a photo is uint8 RGB \(H, W, 3\), or a list of these, not "):
            viztool.feature_maps(model, photo)

    def test_an_unknown_scale(self, model):
        with pytest.raises(LayerError, match=r"^normalize is 'foo'; it is one of channel, layer, minmax$"):
            viztool.feature_maps(model, PHOTO, normalize="foo")

    def test_a_layer_that_is_not_in_the_result(self, model):
        with pytest.raises(LayerError, match=r"^layer 'secnd' is not among these; there are second$"):
            viztool.feature_maps(model, PHOTO)["secnd"]

    def test_random_weights_predict_nothing(self):
        model = viztool.load_model("resnet18", weights=None)
        result = viztool.feature_maps(model, PHOTO, "layer1")
        assert not result.predictions
        assert result.verdict == "No prediction: the weights are random, and what it says means nothing."

    def test_top_must_be_positive(self, model):
        with pytest.raises(LayerError, match=r"^top is 0; draw at least one channel, or all with top=None$"):
            viztool.feature_maps(model, PHOTO, top=0)


class TestResult:
    def test_numbers_are_the_sheets_and_fit_in_json(self, model):
        result = viztool.feature_maps(model, PHOTO, "third", top=3, source="noise.png")
        numbers = json.loads(json.dumps(result.numbers, allow_nan=False))
        layer = numbers["layers"][0]
        assert (numbers["source"], numbers["network"], numbers["input"]) == ("noise.png", "Net", [32, 32])
        assert [channel["index"] for channel in layer["channels"]] == list(result["third"].channels)
        for channel in layer["channels"]:
            values = result["third"].maps[channel["index"]]
            assert channel["max"] == values.max()
            assert channel["sd"] == pytest.approx(values.std(), rel=1e-4)

    def test_npz_holds_every_channel_under_its_layers_name(self, model, tmp_path):
        result = viztool.feature_maps(model, PHOTO, top=1)
        with np.load(result.save_npz(tmp_path / "maps.npz")) as saved:
            assert saved.files == ["relu", "second", "third"]
            for layer in result.layers:
                np.testing.assert_array_equal(saved[layer.name], layer.maps)

    def test_npz_of_a_layer_called_file(self, tmp_path):
        net = nn.Sequential()
        net.add_module("file", nn.Conv2d(3, 2, 3))
        result = viztool.feature_maps(net, torch.randn(1, 3, 9, 9), "file")
        with np.load(result.save_npz(tmp_path / "maps.npz")) as saved:
            np.testing.assert_array_equal(saved["file"], result["file"].maps)

    def test_saved_picture_is_the_picture(self, model, tmp_path):
        result = viztool.feature_maps(model, PHOTO)
        path = result.save(tmp_path / "sheet.png")
        np.testing.assert_array_equal(viztool.read_image(path), result.picture())
        assert viztool.read_image(result._repr_png_()).shape == result.picture().shape


def test_a_network_without_maps_has_nothing_to_draw():
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
    message = r"^no layer puts out maps \(channels of height × width\): there is nothing to draw$"
    with pytest.raises(LayerError, match=message):
        viztool.feature_maps(net, torch.randn(1, 3, 2, 2))


class Turning(nn.Module):
    """Takes another layer for a dark photo than for a bright one; both have the same sides."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.near = nn.Conv2d(4, 4, 3, stride=2, padding=1)
        self.far = nn.Conv2d(4, 4, 7, stride=2, padding=3)

    def forward(self, x):
        x = self.stem(x)
        return (self.near if x.mean() > 0 else self.far)(x).mean((2, 3))


class TestPhotoAfterPhoto:
    @pytest.fixture
    def traced(self, monkeypatch):
        """The inputs whose receptive fields were followed."""
        import viztool.features.looking as looking

        inputs = []

        class Noting(looking.FieldTracer):
            def __init__(self, net, x):
                inputs.append(tuple(x.shape))
                super().__init__(net, x)

        monkeypatch.setattr(looking, "FieldTracer", Noting)
        return inputs

    def test_later_photos_give_what_they_give_alone(self, model, traced):
        photos = [rng.integers(0, 256, (40, 50, 3), np.uint8) for _ in range(3)]
        alone = [viztool.feature_maps(model, photo) for photo in photos]
        traced.clear()
        together = viztool.feature_maps(model, photos)
        assert traced == [(1, 3, 32, 32)]
        for one, other in zip(alone, together, strict=True):
            assert one.numbers == other.numbers
            assert [layer.field for layer in one.layers] == [layer.field for layer in other.layers] != []
            np.testing.assert_array_equal(one.picture(), other.picture())

    def test_each_size_is_followed_once(self, net, traced):
        look = viztool.features.FeatureLook(net)
        for side in (32, 48, 32, 48):
            look.at(torch.rand(1, 3, side, side))
        assert traced == [(1, 3, 32, 32), (1, 3, 48, 48)]

    def test_another_course_is_followed_anew(self, traced):
        torch.manual_seed(0)
        net = Turning().eval()
        with torch.no_grad():
            net.stem.weight.abs_()
            net.stem.bias.zero_()
        look = viztool.features.FeatureLook(net)
        bright, dark = torch.ones(1, 3, 32, 32), -torch.ones(1, 3, 32, 32)
        found = [
            (found.layers[-1].name, found.layers[-1].field.size) for (found,) in map(look.at, (bright, dark, dark))
        ]
        assert found == [("near", (7, 7)), ("far", (15, 15)), ("far", (15, 15))]
        assert len(traced) == 2

    def test_a_forward_is_not_repeated(self, net):
        look = viztool.features.FeatureLook(net)
        x = torch.rand(1, 3, 32, 32)
        look.at(x)
        look.at(x)
        assert net.forwards == 2


def test_statistics_are_those_of_double_precision():
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(2, 5, 9, 11, generator=generator) * torch.logspace(-3, 3, 5).view(5, 1, 1) + 10
    maps[0, 0] = 0.1  # constant
    maps[1, 1, 3, 4], maps[1, 2, 0, 0], maps[1, 3, 8, 10] = torch.nan, torch.inf, -torch.inf
    for image, found in zip(maps, viztool.features.layer_maps.channel_statistics(maps), strict=True):
        exact = image.double().numpy()
        finite = np.isfinite(exact).all((1, 2))
        np.testing.assert_array_equal(found.finite, finite)
        np.testing.assert_array_equal(found.low[finite], exact[finite].min((1, 2)).astype(np.float32))
        np.testing.assert_array_equal(found.high[finite], exact[finite].max((1, 2)).astype(np.float32))
        np.testing.assert_allclose(found.mean[finite], exact[finite].mean((1, 2)), rtol=1e-5)
        np.testing.assert_allclose(found.sd[finite], exact[finite].std((1, 2)), rtol=1e-3)
    assert viztool.features.layer_maps.channel_statistics(maps)[0].sd[0] == 0


class TestMinMax:
    def test_an_offset_does_not_show(self, model):
        flat = viztool.feature_maps(model, PHOTO, "third", normalize="minmax")
        with torch.no_grad():
            model.net.third.bias += 100
        lifted = viztool.feature_maps(model, PHOTO, "third", normalize="minmax")
        red = viztool.feature_maps(model, PHOTO, "third", normalize="channel")
        channel = flat.layers[0].channels[0]
        for found in (flat, lifted):
            values, tile = found.layers[0].maps[channel], found._tile(found.layers[0], channel)
            wanted = (values - values.min()) / (values.max() - values.min())
            np.testing.assert_allclose(tile.values / tile.limit, wanted, atol=1e-6)
            assert found._band(found.layers[0]).bar == ("min", "", "max")
        tile = red._tile(red.layers[0], channel)
        assert (tile.values / tile.limit).min() > 0.9  # solid red
        assert any("smallest value" in note for note in lifted._notes())

    def test_what_is_not_finite_or_constant_is_marked_as_ever(self, model):
        layer = viztool.feature_maps(model, PHOTO, "relu", normalize="minmax")
        marks = {channel: layer._tile(layer.layers[0], channel).mark for channel in layer.layers[0].channels}
        assert (marks[1], marks[2]) == ("dead", "always 0.5")
