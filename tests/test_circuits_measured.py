"""Measured edges: against networks that are rebuilt and run whole, and on one whose circuit is known."""

import math

import numpy as np
import pytest
import timm
import torch
import torchvision
from atlas_helpers import small_model, write_photos
from circuit_nets import BothEdges, corner, outputs, rebuilt, slow_effect

import viztool
from viztool.circuits import circuit
from viztool.errors import LayerError, SettingError, ViztoolError

NETWORKS = {
    "resnet18": (lambda: torchvision.models.resnet18(weights=None), "layer1", "layer2", "layer4"),
    "densenet121": (
        lambda: torchvision.models.densenet121(weights=None),
        "features.denseblock1.denselayer2",
        "features.transition1",
        "features.transition2",
    ),
    "mobilenet_v2": (lambda: torchvision.models.mobilenet_v2(weights=None), "features.3", "features.5", "features.8"),
    "vgg11": (lambda: small_vgg(), "features.2", "features.8", "features.13"),
    "efficientnet_lite0": (
        lambda: timm.create_model("tf_efficientnet_lite0", pretrained=False),
        "blocks.1",
        "blocks.2",
        "blocks.4",
    ),
    "squeeze_and_excite": (
        lambda: timm.create_model("mobilenetv3_small_100", pretrained=False),
        "blocks.1.0",
        "blocks.2.0",
        "blocks.3",
    ),
}


def small_vgg():
    """Without the 120 million weights of its first linear layer."""
    net = torchvision.models.vgg11(weights=None, init_weights=False)
    net.classifier = torch.nn.Linear(512 * 49, 10)
    return net


def network(name):
    """With weights and statistics of a network that has seen something: nothing is 0 or all alike."""
    torch.manual_seed(3)
    make, *layers = NETWORKS[name]
    net = make().eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.7, 1.3)
            module.bias.data.normal_(0, 0.2)
    return net, layers


def means_of(net, photos, layer):
    return torch.cat([outputs(net, photo[None], layer) for photo in photos]).double().mean((0, 2, 3)).float()


@pytest.mark.parametrize("name", NETWORKS)
def test_effects_are_those_of_the_rebuilt_network_run_whole(name):
    net, (source, target, later) = network(name)
    photos = torch.randn(2, 3, 64, 64)
    found = circuit(net, target, 3, photos, inputs=source, outputs=later)
    means = means_of(net, photos, source)
    scale = float(outputs(net, photos, target)[:, 3].abs().amax())
    effects = {edge.channel: edge for edge in found.inputs}
    assert len(effects) == len(means)
    for channel in [edge.channel for edge in found.inputs[:4]] + [0, len(means) - 1]:
        slow = slow_effect(net, photos, source, [channel], means, target, 3)
        assert effects[channel].effect == pytest.approx(float(slow.mean()), abs=1e-5 * scale)
        assert effects[channel].error == pytest.approx(float(slow.std() / math.sqrt(2)), abs=1e-5 * scale)
    assert [edge.channel for edge in found.inputs] == sorted(effects, key=lambda channel: -abs(effects[channel].effect))
    whole = slow_effect(net, photos, source, list(range(len(means))), means, target, 3)
    assert found.together[-1].effect == pytest.approx(float(whole.mean()), abs=1e-5 * scale)

    own = means_of(net, photos, target)
    before, after = outputs(net, photos, later), outputs(rebuilt(net, target, [3], own), photos, later)
    fed = {edge.channel: edge.effect for edge in found.outputs}
    at = before.flatten(2).argmax(2, keepdim=True)
    slow = (before.flatten(2).gather(2, at) - after.flatten(2).gather(2, at))[..., 0].mean(0)
    assert [fed[channel] for channel in range(len(slow))] == pytest.approx(
        slow.tolist(), abs=1e-5 * float(before.abs().amax())
    )


@pytest.mark.parametrize("name", ["resnet18", "densenet121"])
def test_effects_on_classes_are_those_of_the_rebuilt_network(name):
    net, (_, target, _) = network(name)
    photos = torch.randn(2, 3, 64, 64)
    found = circuit(net, target, 5, photos)
    with torch.no_grad():
        before, after = net(photos), rebuilt(net, target, [5], means_of(net, photos, target))(photos)
    slow = (before - after).mean(0)
    classes = {edge.channel: edge.effect for edge in found.outputs}
    assert [classes[at] for at in range(len(slow))] == pytest.approx(
        slow.tolist(), abs=1e-5 * float(before.abs().amax())
    )


def test_other_replacements_are_what_they_say():
    net, (source, target, _) = network("resnet18")
    photos = torch.randn(3, 3, 64, 64)
    scale = float(outputs(net, photos, target)[:, 3].abs().amax())
    zeros = torch.zeros(64)
    found = {edge.channel: edge.effect for edge in circuit(net, target, 3, photos, source, replace="zero").inputs}
    for channel in (0, 17, 63):
        slow = slow_effect(net, photos, source, [channel], zeros, target, 3).mean()
        assert found[channel] == pytest.approx(float(slow), abs=1e-5 * scale)

    drawn = circuit(net, target, 3, photos, source, replace="resample", seed=1)
    effects = {edge.channel: edge.effect for edge in drawn.inputs}
    circle = np.random.default_rng(1).permutation(3).tolist()
    strongest = np.argsort(-outputs(net, photos, target)[:, 3].amax((1, 2)).numpy(), kind="stable")
    ordered = photos[strongest.tolist()]
    others = [circle[(circle.index(at) + 1) % 3] for at in range(3)]
    given = outputs(net, ordered, source)[others]
    for channel in (0, 17, 63):
        slow = slow_effect(net, ordered, source, [channel], given, target, 3).mean()
        assert effects[channel] == pytest.approx(float(slow), abs=1e-5 * scale)


def test_the_circuit_of_an_and_of_two_edges_comes_out_exactly():
    net = BothEdges().eval()
    found = circuit(net, "fires", 0, corner(), inputs="relu", replace="zero")
    # At the corner's place of the maximum both edges give 2 or 3: whichever is taken, the rest stays below 3.5.
    assert [(edge.channel, edge.effect) for edge in found.inputs] == [(0, 0.5), (1, 0.5), (2, 0.0), (3, 0.0)]
    assert all(math.isnan(edge.error) for edge in found.inputs)  # of one photo
    assert found.numbers["inputs"]["edges"][0]["error"] is None
    pair = found.together[0]
    assert (pair.count, pair.effect, pair.sum) == (2, 0.5, 1.0)  # single effects of an AND do not add up
    assert {edge.channel: edge.effect for edge in found.outputs} == {0: 1.0, 1: -0.5, 2: 0.0}


def test_a_unit_of_one_convolution_is_its_kernel_and_its_effects_are_those_of_the_gradient():
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3), torch.nn.Conv2d(5, 2, 3)).eval()
    found = circuit(net, "1", 1, torch.randn(4, 3, 12, 12), inputs="0")
    assert torch.equal(torch.from_numpy(found.kernels), net[1].weight[1].detach())
    assert found.guesses[0].correlation == pytest.approx(1)
    assert found.together[-1].effect == pytest.approx(found.together[-1].sum, rel=1e-4)


def test_inputs_are_by_default_of_the_layer_that_it_begins_with():
    net, _ = network("resnet18")
    photos = torch.randn(1, 3, 64, 64)
    assert circuit(net, "layer2", 0, photos).inputs_layer == "layer1"
    assert circuit(net, "layer2.0.conv1", 0, photos).inputs_layer == "layer1"
    assert circuit(net, "layer2.0.conv2", 0, photos).inputs_layer == "layer2.0.bn1"  # its relu runs twice


def test_only_what_the_unit_sees_is_computed_where_that_is_enough():
    net, (source, target, _) = network("efficientnet_lite0")
    photos = torch.randn(2, 3, 96, 96)
    assert circuit(net, target, 0, photos, source).windowed == 2
    excited, (source, target, _) = network("squeeze_and_excite")  # its gates see everything
    assert circuit(excited, target, 0, photos, source).windowed == 0


def test_the_photos_that_excite_it_most_are_measured_and_the_means_are_over_all():
    net, (source, target, _) = network("vgg11")
    photos = torch.randn(4, 3, 64, 64)
    found = circuit(net, target, 2, photos, source, top=2)
    highest = outputs(net, photos, target)[:, 2].amax((1, 2))
    best = highest.argsort(descending=True)[:2].tolist()
    assert found.photos == tuple(f"image {at}" for at in best)
    assert found.of == 4
    assert found.value == pytest.approx(float(highest[best].mean()), rel=1e-6)
    slow = slow_effect(net, photos[best], source, [9], means_of(net, photos, source), target, 2)
    effects = {edge.channel: edge.effect for edge in found.inputs}
    assert effects[9] == pytest.approx(float(slow.mean()), abs=1e-5 * found.value)


def test_of_an_atlas_the_units_top_photos_are_taken_and_the_means_are_those_of_its_data(tmp_path):
    write_photos(tmp_path / "photos", 9)
    model = small_model()
    atlas = viztool.build_atlas(model, tmp_path / "photos", tmp_path / "a.atlas", layers=["1", "5"], keep=3)
    found = circuit(model, "5", 2, atlas, inputs="1")
    assert found.photos == tuple(name for name, *_ in atlas["5"][2].top)
    assert found.value == pytest.approx(np.mean([value for _, value, *_ in atlas["5"][2].top]), rel=1e-5)
    means = torch.tensor(atlas["1"].unit_numbers["mean_mean"]).float()
    photos = torch.cat([model.preprocess(viztool.read_image(tmp_path / "photos" / name)) for name in found.photos])
    effects = {edge.channel: edge.effect for edge in found.inputs}
    for channel in range(6):
        slow = slow_effect(model.net, photos, "1", [channel], means, "5", 2)
        assert effects[channel] == pytest.approx(float(slow.mean()), abs=1e-5 * found.value)


def test_a_layer_of_tokens_has_its_channels_last():
    torch.manual_seed(1)
    net = timm.create_model("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=3, num_classes=4).eval()
    photos = torch.randn(2, 3, 32, 32)
    found = circuit(net, "blocks.1", 7, photos, "blocks.0", replace="zero")
    for channel in (found.inputs[0].channel, 100):
        slow = []
        for photo in photos:
            before = outputs(net, photo[None], "blocks.1")[0, 1:, 7]  # the class token is no place
            given = outputs(net, photo[None], "blocks.0")
            given[:, :, channel] = 0  # and in it, too, the channel is out
            handle = net.blocks[0].register_forward_hook(lambda module, args, out, given=given: given)
            after = outputs(net, photo[None], "blocks.1")[0, 1:, 7]
            handle.remove()
            slow.append(float(before.max() - after[before.argmax()]))
        effect = {edge.channel: edge.effect for edge in found.inputs}[channel]
        assert effect == pytest.approx(np.mean(slow), abs=1e-5 * found.value)


def test_the_network_is_left_as_it_was():
    net, (source, target, _) = network("resnet18")
    net.train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    circuit(net, target, 0, torch.randn(2, 3, 64, 64), source)
    assert net.training
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in net.parameters())
    assert not any(module._forward_hooks or "forward" in module.__dict__ for module in net.modules())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"channel": 99}, LayerError, "layer '1' has 2 channels, 0 to 1, and no 99"),
        ({"inputs": "1"}, LayerError, "layer '1' does not end after '1'; nothing leads there"),
        ({"layer": "0", "inputs": "1"}, LayerError, "layer '0' does not end after '1'; nothing leads there"),
        ({"layer": "0"}, LayerError, "no layer ends before '0' begins; its inputs are the picture's own"),
        ({"outputs": "0"}, LayerError, "layer '0' does not end after '1'; nothing leads there"),
        ({"replace": "noise"}, SettingError, "replace is 'noise'; there are mean, zero, resample"),
        (
            {"replace": "resample"},
            SettingError,
            "replace='resample' takes a channel from another photo; give at least two",
        ),
        ({"top": 0}, SettingError, "top is 0; give at least 1"),
        ({"photos": []}, ViztoolError, "there are no photos to measure on"),
    ],
)
def test_errors_say_what_is_wrong(options, error, message):
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3), torch.nn.Conv2d(5, 2, 3)).eval()
    given = {"layer": "1", "channel": 0, "photos": torch.randn(1, 3, 12, 12), "inputs": None} | options
    with pytest.raises(error) as caught:
        circuit(net, given.pop("layer"), given.pop("channel"), given.pop("photos"), **given)
    assert str(caught.value) == message


def test_it_is_a_public_name():
    assert viztool.circuit is circuit
