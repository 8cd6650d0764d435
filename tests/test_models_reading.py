"""How an output is read: what is claimed where it is known, and nothing where it is not."""

import json

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

import viztool
from viztool.errors import ModelError, SettingError, TargetError
from viztool.kernels.ascent import Settings
from viztool.kernels.task import Task
from viztool.kernels.units import classes_of
from viztool.models.reader import Reader, ending_of, is_zoo

PHOTO = np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)
NAMES = ["cat", "dog", "bird"]


class Head(nn.Module):
    """A small network with an output made by `end` of (N, outputs) or, dense, of (N, outputs, h, w)."""

    def __init__(self, outputs, end=lambda values: values, dense=False):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.end, self.dense = nn.Conv2d(3, 8, 3, stride=4), end, dense
        self.last = nn.Conv2d(8, outputs, 1) if dense else nn.Linear(8, outputs)

    def raw(self, x):
        maps = self.conv(x).relu()
        return self.last(maps if self.dense else maps.mean((2, 3)))

    def forward(self, x):
        return self.end(self.raw(x))


def model_of(net, **settings):
    return viztool.wrap_model(net.eval(), size=32, mean=0.5, std=0.25, **settings)


def raw_of(model):
    with torch.no_grad():
        return model.net.raw(model.preprocess(PHOTO))


def sorted_rows(names, values):
    rows = zip(names, torch.as_tensor(values).tolist(), strict=True)
    return sorted(rows, key=lambda row: -row[1])


def same(found, expected):
    assert [name for name, _ in found] == [name for name, _ in expected]
    assert [value for _, value in found] == pytest.approx([value for _, value in expected], rel=1e-5)


class TestWhatIsSaid:
    def test_softmax(self):
        model = model_of(Head(3), output="softmax")
        names = [f"class {index}" for index in range(3)]
        same(model.predict(PHOTO), sorted_rows(names, raw_of(model)[0].softmax(0)))

    @pytest.mark.parametrize("end", [lambda values: values, torch.sigmoid])
    def test_sigmoid_of_logits_and_of_a_network_that_ends_in_one(self, end):
        model = model_of(Head(3, end), output="sigmoid", classes=NAMES)
        same(model.predict(PHOTO), sorted_rows(NAMES, raw_of(model)[0].sigmoid()))

    def test_logits_between_0_and_1_are_no_probabilities(self):
        net = Head(3)
        with torch.no_grad():
            net.last.weight.mul_(1e-3)
            net.last.bias.copy_(torch.tensor([0.2, 0.5, 0.9]))
        model = model_of(net, output="sigmoid", classes=NAMES)
        same(model.predict(PHOTO), sorted_rows(NAMES, raw_of(model)[0].sigmoid()))

    def test_binary(self):
        for net in (Head(1), Head(1, torch.sigmoid), Head(1, lambda values: values[:, 0])):
            model = model_of(net, output="binary", classes=["cat", "dog"])
            dog = float(raw_of(model)[0].sigmoid())
            same(model.predict(PHOTO), sorted_rows(["cat", "dog"], [1 - dog, dog]))

    def test_scores(self):
        model = model_of(Head(3), output="scores", classes=NAMES)
        same(model.predict(PHOTO), sorted_rows(NAMES, raw_of(model)[0]))
        dense = model_of(Head(3, dense=True), output="scores")
        names = [f"class {index}" for index in range(3)]
        same(dense.predict(PHOTO), sorted_rows(names, raw_of(dense)[0].mean((1, 2))))

    def test_none(self):
        model = model_of(Head(3), output="none")
        with pytest.raises(ModelError) as error:
            model.predict(PHOTO)
        assert str(error.value) == 'the network\'s output is not read as classes (output="none")'
        sheet = viztool.feature_maps(model, PHOTO, "conv")
        assert sheet.verdict == 'No prediction: the network\'s output is not read as classes (output="none").'
        for target in (None, 1, "cat", [0]):
            with pytest.raises(
                TargetError, match=r"\(output=\"none\"\); give a target that makes a score of it, a callab"
            ):
                viztool.class_activation_map(model, PHOTO, target=target, layer="conv")
        heatmap = viztool.class_activation_map(model, PHOTO, target=lambda output: output[:, 1], layer="conv")
        assert heatmap.score.tolist() == pytest.approx([float(raw_of(model)[0, 1])])

    @pytest.mark.parametrize(
        ("take", "probabilities"),
        [
            (lambda output: output["b"], lambda raw: raw.softmax(0)),
            (lambda output: output["b"].sigmoid(), lambda raw: raw.sigmoid()),
            (lambda output: (output["b"] * 2).softmax(1), lambda raw: (raw * 2).softmax(0)),
        ],
    )
    def test_a_callable_makes_what_is_then_read(self, take, probabilities):
        model = model_of(Head(3, lambda values: {"a": values[:, :2], "b": values}), output=take, classes=NAMES)
        same(model.predict(PHOTO), sorted_rows(NAMES, probabilities(raw_of(model)[0])))
        heatmap = viztool.class_activation_map(model, PHOTO, target="dog", layer="conv")
        assert float(heatmap.score[0]) == pytest.approx(float(take({"b": raw_of(model)})[0, 1]))

    def test_anything_else_is_refused(self):
        message = (
            "output must be softmax, sigmoid, binary, scores, none, or a callable from the network's output to (N, K), "
            "got 'probabilities'"
        )
        with pytest.raises(SettingError) as error:
            model_of(Head(3), output="probabilities")
        assert str(error.value) == message


class TestWhatIsKnownByItself:
    def test_as_many_outputs_as_names(self):
        model = model_of(Head(3), classes=NAMES)
        same(model.predict(PHOTO), sorted_rows(NAMES, raw_of(model)[0].softmax(0)))

    def test_as_many_outputs_as_names_that_end_in_a_sigmoid(self):
        for end in (torch.sigmoid, lambda values: values.sigmoid().clone()[:, :, None, None]):
            model = model_of(Head(3, end), classes=NAMES)
            same(model.predict(PHOTO), sorted_rows(NAMES, raw_of(model)[0].sigmoid()))

    def test_bounded_values_of_another_kind_are_scores(self):
        model = model_of(Head(3, lambda values: values.clamp(0, 1) * 0 + torch.tensor([0.5, 0.25, 1.0])), classes=NAMES)
        model = model_of(Head(3, lambda values: (values * 0 + torch.tensor([0.5, 0.25, 1])).clamp(0, 1)), classes=NAMES)
        assert model.predict(PHOTO) == [("bird", 1.0), ("cat", 0.5), ("dog", 0.25)]
        assert viztool.feature_maps(model, PHOTO, "conv").predictions.unit == "score"

    def test_small_logits_of_a_classification_stay_a_softmax(self):
        net = Head(3)
        nn.init.zeros_(net.last.weight)
        nn.init.constant_(net.last.bias, 0.5)
        assert [p for _, p in model_of(net, classes=NAMES).predict(PHOTO)] == pytest.approx([1 / 3] * 3)

    def test_what_sums_to_one(self):
        model = model_of(Head(3, lambda values: values.softmax(1)))
        found = viztool.feature_maps(model, PHOTO, "conv").predictions
        assert found.unit == "probability"
        same(found, sorted_rows([f"class {index}" for index in range(3)], raw_of(model)[0].softmax(0)))

    def test_one_output_and_two_names(self):
        model = model_of(Head(1), classes=["cat", "dog"])
        z = float(raw_of(model)[0, 0])
        assert dict(model.predict(PHOTO))["dog"] == pytest.approx(1 / (1 + np.exp(-z)))

    def test_torchvisions_own_classes_of_a_bare_network(self):
        net = torchvision.models.squeezenet1_1().eval()
        x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            expected = net(x).softmax(1).amax()
        found = viztool.feature_maps(net, x, "features.0").predictions
        assert found.unit == "probability"
        assert found[0][1] == pytest.approx(float(expected))
        assert is_zoo(net) and not is_zoo(Head(3))

    @pytest.mark.parametrize(
        "net",
        [
            Head(5),
            Head(1),
            Head(1, torch.sigmoid, dense=True),
            Head(3, torch.sigmoid, dense=True),
            Head(4, torch.sigmoid),
            Head(5, lambda values: nn.functional.normalize(values)),
        ],
        ids=["regression", "one number", "edge map", "autoencoder", "box", "embedding"],
    )
    def test_no_probabilities_are_claimed_of_what_may_be_anything(self, net):
        model = model_of(net)
        found = viztool.feature_maps(model, PHOTO, "conv")
        assert found.predictions.unit == "score"
        assert found.predictions.note.startswith("Scores, no probabilities: nothing says how the output is to be read.")
        assert "%" not in found.in_words
        with torch.no_grad():
            output = net(model.preprocess(PHOTO))[0]
        best = output.flatten(1).mean(1) if net.dense else output
        assert found.predictions[0] == (f"class {int(best.argmax())}", pytest.approx(float(best.max())))
        numbers = viztool.class_activation_map(model, PHOTO, layer="conv").numbers["images"][0]
        assert numbers["predictions"][0] == {"class": found.predictions[0][0], "score": found.predictions[0][1]}


class TestBinary:
    @pytest.fixture
    def model(self):
        return model_of(Head(1), classes=["cat", "dog"])

    def test_the_firsts_score_is_the_negative_of_the_seconds(self, model):
        z = float(raw_of(model)[0, 0])
        cat, dog = (viztool.class_activation_map(model, PHOTO, "hirescam", name, "conv") for name in ("cat", "dog"))
        assert (float(cat.score[0]), float(dog.score[0])) == pytest.approx((-z, z))
        torch.testing.assert_close(cat.raw, -dog.raw)
        assert (cat.target, cat.classes, dog.classes) == (("cat",), (0,), (1,))

    def test_the_target_is_what_the_sign_says(self, model):
        for bias in (-9.0, 9.0):
            nn.init.constant_(model.net.last.bias, bias)
            heatmap = viztool.class_activation_map(model, PHOTO, layer="conv")
            assert heatmap.target == (("dog",) if bias > 0 else ("cat",))
            assert float(heatmap.score[0]) > 0

    def test_a_network_that_ends_in_a_sigmoid_decides_at_one_half(self):
        model = model_of(Head(1, torch.sigmoid), classes=["cat", "dog"])
        nn.init.constant_(model.net.last.bias, -9.0)
        heatmap = viztool.class_activation_map(model, PHOTO, layer="conv")
        assert heatmap.target == ("cat",)
        assert float(heatmap.score[0]) == pytest.approx(1 - float(raw_of(model)[0, 0].sigmoid()))

    def test_the_first_of_all_methods_finds_its_weights(self, model):
        z = raw_of(model)[0, 0]
        for name, sign in (("cat", -1), ("dog", 1)):
            found = viztool.class_activation_map(model, PHOTO, "cam", name, "conv")
            whole = found.raw.mean() + sign * model.net.last.bias.detach()[0]
            assert float(whole) == pytest.approx(sign * float(z), abs=1e-5)

    @pytest.mark.parametrize("end", [lambda values: values, torch.sigmoid], ids=["logit", "probability"])
    @pytest.mark.parametrize(
        "method", ["gradient", "integrated_gradients", "occlusion", "lrp_epsilon", "lrp_zplus", "deeplift"]
    )
    def test_what_speaks_for_one_speaks_against_the_other(self, method, end):
        model = model_of(Head(1, end), classes=["cat", "dog"])
        cat, dog = (viztool.attribute(model, PHOTO, method, name).raw for name in ("cat", "dog"))
        assert float(dog.abs().max()) > 0
        torch.testing.assert_close(cat, -dog, rtol=1e-4, atol=1e-4 * float(dog.abs().max()))

    def test_every_room_takes_a_name(self, model):
        attribution = viztool.attribute(model, PHOTO, "gradient", "dog")
        assert attribution.target == ("dog",)
        heatmap = viztool.class_activation_map(model, PHOTO, target="cat", layer="conv")
        numbers = viztool.evaluate_heatmap(model, PHOTO, heatmap, steps=2, draws=2).numbers["images"][0]
        assert numbers["probability"] == pytest.approx(dict(model.predict(PHOTO))["cat"])
        sheet = viztool.visualize_kernels(model, targets=["dog", "cat"], steps=1, size=32)
        assert [(kernel.unit, kernel.label) for kernel in sheet.kernels] == [(1, "dog"), (0, "cat")]


def test_a_run_that_reads_the_output_otherwise_is_another_run():
    def identity(**settings):
        model = model_of(Head(1), **settings)
        return Task(model, classes_of(model, [0], (32, 32)), Settings(1, (32, 32), None, None), False, 0).identity

    def last(output):
        return output[:, -1:]

    ways = [{"output": "sigmoid"}, {"output": "scores"}, {"classes": ["a", "b"]}, {"output": last}]
    found = [json.dumps(identity(**way)) for way in ways]
    assert len(set(found)) == len(ways)
    assert found[-1] == json.dumps(identity(output=last)) and " at 0x" not in found[-1]


class TestForms:
    def test_a_vector_with_sides_of_one_is_a_vector(self):
        scores = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
        for said in ("softmax", "sigmoid", "scores"):
            flat, deep = (Reader(said).settle(values) for values in (scores, scores[..., None, None]))
            assert torch.equal(flat.scores(scores), scores)
            assert torch.equal(deep.scores(scores[..., None, None]), scores)
            assert torch.equal(deep.confidences(scores[..., None, None]), flat.confidences(scores))

    def test_of_a_tuple_it_is_said_which_part_was_taken(self):
        model = model_of(Head(3, lambda values: (values, values[:, :2])), classes=NAMES)
        assert viztool.feature_maps(model, PHOTO, "conv").predictions.note == "Read from output[0]."
        model = model_of(Head(3, lambda values: {"aux": values[:, :2], "out": values}), classes=NAMES)
        assert viztool.feature_maps(model, PHOTO, "conv").predictions.note == "Read from output['out']."
        assert viztool.feature_maps(model_of(Head(3), classes=NAMES), PHOTO, "conv").predictions.note == ""

    @pytest.mark.parametrize(
        ("net", "settings", "message"),
        [
            (Head(3), {"classes": ["a", "b"]}, "2 class names were given, and the network has 3 outputs"),
            (Head(1), {"classes": NAMES}, "3 class names were given, and the network has 1 output"),
            (
                Head(3, lambda values: (values, values[:, :2])),
                {"classes": ["a", "b"]},
                "2 class names were given, and the network has 3 outputs in output[0]",
            ),
            (
                Head(3),
                {"output": "binary"},
                "output is binary, and the network has 3 outputs: binary is of one; use softmax",
            ),
            (
                Head(1),
                {"output": "softmax"},
                "output is softmax, and the network has 1 output: use binary, for one of two classes",
            ),
            (
                Head(1),
                {"output": "binary", "classes": NAMES},
                "3 class names were given, and the network has 1 output",
            ),
        ],
    )
    def test_what_does_not_fit_is_one_clear_error_everywhere(self, net, settings, message):
        model = model_of(net, **settings)
        heatmap = viztool.class_activation_map(model_of(net, output="scores"), PHOTO, target=0, layer="conv")
        for ask in (
            lambda: model.predict(PHOTO),
            lambda: viztool.class_activation_map(model, PHOTO, layer="conv"),
            lambda: viztool.attribute(model, PHOTO, "gradient", 0),
            lambda: viztool.evaluate_heatmap(model, PHOTO, heatmap, steps=2, draws=2),
            lambda: viztool.visualize_kernels(model, targets=[0], steps=1, size=32),
        ):
            with pytest.raises(ModelError) as error:
                ask()
            assert str(error.value) == message
        assert viztool.feature_maps(model, PHOTO, "conv").verdict == f"No prediction: {message}."

    def test_the_score_of_a_picture_has_the_mean_of_its_positions_probabilities(self):
        maps = 3 * torch.randn(2, 4, 5, 6, generator=torch.Generator().manual_seed(0))
        for said, squash in (("softmax", lambda values: values.softmax(1)), ("sigmoid", torch.sigmoid)):
            reading = Reader(said).settle(maps)
            share = squash(maps).mean((2, 3))
            torch.testing.assert_close(reading.probabilities(maps), share)
            torch.testing.assert_close(squash(reading.scores(maps)), share)
        one = maps[:, :1]
        reading = Reader("binary", ["sky", "sea"]).settle(one)
        sea = one.sigmoid().mean((1, 2, 3))
        torch.testing.assert_close(reading.probabilities(one), torch.stack([1 - sea, sea], 1))
        torch.testing.assert_close(reading.scores(one).sigmoid(), torch.stack([1 - sea, sea], 1))

    def test_the_operation_at_the_end_is_seen_through_what_carries_it(self):
        x = torch.randn(2, 3, 32, 32)
        for end, name in (
            (torch.sigmoid, "SigmoidBackward0"),
            (lambda values: [values.sigmoid()[:, None].squeeze(1)[:, :2].clone()], "SigmoidBackward0"),
            (lambda values: values, "AddmmBackward0"),
            (lambda values: values.detach(), ""),
        ):
            net = Head(3, end).train()
            before = [parameter.requires_grad_(False) for parameter in net.parameters()]
            if name == "AddmmBackward0" or name:
                assert ending_of(net, x)(None) == name
            else:
                assert ending_of(net, x)(None) == ""
            assert net.training and all(parameter.grad is None for parameter in before)
