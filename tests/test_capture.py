"""capture against an oracle, over networks of every family, and its promises one by one."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import timm
import torch
import torchvision.models as tv
from capture_oracle import (
    cloned_outputs,
    equal_states,
    fates_by_reference,
    retained_gradients,
    same,
    state_of,
)
from torch import Tensor, nn

from viztool.errors import LayerError
from viztool.hooks import capture

Build = Callable[[], nn.Module]

NETWORKS: dict[str, tuple[Build, tuple[int, ...]]] = {
    "alexnet": (lambda: tv.alexnet(num_classes=5), (2, 3, 64, 64)),
    "resnet18": (lambda: tv.resnet18(num_classes=5), (2, 3, 64, 64)),
    "densenet121": (lambda: tv.densenet121(num_classes=5), (1, 3, 64, 64)),
    "efficientnet_b0": (lambda: tv.efficientnet_b0(num_classes=5), (1, 3, 64, 64)),
    "mobilenet_v3_small": (lambda: tv.mobilenet_v3_small(num_classes=5), (1, 3, 64, 64)),
    "shufflenet": (lambda: tv.shufflenet_v2_x0_5(num_classes=5), (1, 3, 64, 64)),
    "squeezenet": (lambda: tv.squeezenet1_1(num_classes=5), (1, 3, 64, 64)),
    "googlenet": (lambda: tv.googlenet(num_classes=5, init_weights=False), (1, 3, 64, 64)),
    "regnet": (lambda: tv.regnet_y_400mf(num_classes=5), (1, 3, 64, 64)),
    "convnext": (lambda: timm.create_model("convnext_atto", num_classes=5), (1, 3, 64, 64)),
    "vit": (lambda: tv.VisionTransformer(64, 16, 2, 4, 32, 64, num_classes=5), (2, 3, 64, 64)),
    "swin": (
        lambda: tv.SwinTransformer([4, 4], 16, [2, 2], [2, 2], [4, 4], num_classes=5),
        (1, 3, 64, 64),
    ),
    "segmentation": (
        lambda: tv.segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=5),
        (1, 3, 64, 64),
    ),
    "detection": (
        lambda: tv.detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=5),
        (1, 3, 96, 96),
    ),
    "video": (lambda: tv.video.r3d_18(num_classes=5), (1, 3, 4, 32, 32)),
}


def message_of(block: Callable[[], Any]) -> str:
    with pytest.raises(LayerError) as caught:
        block()
    return str(caught.value)


MODES = {"no_grad": torch.no_grad, "grad": torch.enable_grad, "inference_mode": torch.inference_mode}


@cache
def network(name: str) -> tuple[nn.Module, Tensor]:
    """The network, in evaluation mode and with random weights, and an input for it."""
    torch.manual_seed(0)
    build, shape = NETWORKS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # networks' own deprecations
        net = build().eval()
    return net, torch.randn(shape)


@pytest.mark.parametrize("name", NETWORKS)
def test_each_call_of_each_leaf_is_what_the_layer_put_out(name: str) -> None:
    net, x = network(name)
    for mode in MODES.values():
        with mode():
            expected = cloned_outputs(net, lambda: net(x))
            plain = net(x)
            with capture(net) as acts:
                output = net(x)
        assert same(output, plain)
        assert sorted(acts.layers) == sorted(expected)
        for layer, calls in expected.items():
            captured = acts.calls(layer)
            assert len(captured) == len(calls)
            assert all(same(mine, theirs) for mine, theirs in zip(captured, calls, strict=True)), layer
            assert same(acts[layer], calls[-1])


def score(output: Any) -> Tensor:
    return (output["out"] if isinstance(output, dict) else output).square().sum()


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "detection"])
def test_gradients_are_autograds_own_and_those_of_the_weights_stay(name: str) -> None:
    net, x = network(name)
    expected = retained_gradients(net, lambda plain: score(plain(x)))
    weights = list(net.parameters())
    before = torch.autograd.grad(score(net(x)), weights, allow_unused=True)
    with capture(net, grads=True) as acts:
        score(net(x)).backward()
    for layer, calls in expected.items():
        for index, gradient in enumerate(calls):
            assert gradient is not None
            assert same(acts.grad(layer, index), gradient), (layer, index)
    for weight, gradient in zip(weights, before, strict=True):
        assert gradient is None or same(weight.grad, gradient)
        weight.grad = None


@pytest.mark.parametrize(
    ("build", "wrong", "calls"),
    [
        (lambda: tv.alexnet(num_classes=5), 7, 23),
        (lambda: tv.resnet50(num_classes=5), 49, 182),
        (lambda: tv.densenet121(num_classes=5), 121, 432),
        (lambda: tv.efficientnet_b0(num_classes=5), 85, 329),
        (lambda: tv.convnext_tiny(num_classes=5), 18, 202),
    ],
)
def test_by_reference_these_would_be_wrong_and_copy_false_refuses_just_them(
    build: Build, wrong: int, calls: int
) -> None:
    net, x = build().eval(), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        fates = fates_by_reference(net, lambda: net(x), [name for name, _ in net.named_modules() if name])
        expected = cloned_outputs(net, lambda: net(x), list(fates))
        with capture(net, list(fates), copy=False) as acts:
            net(x)
    every = [fate for of_layer in fates.values() for fate in of_layer]
    assert (sum(fate.wrong for fate in every), len(every)) == (wrong, calls)
    for name, of_layer in fates.items():
        if of_layer[-1].written:
            assert message_of(lambda name=name: acts[name]) == (
                f"the output of layer {name!r} was overwritten in place after it was captured; "
                "capture it with copy=True and detach=True, or clone it before you change it"
            )
        else:
            assert same(acts[name], expected[name][-1])


def test_a_loss_can_be_built_on_a_captured_tensor_and_the_scores_gradient_reaches_it() -> None:
    net, x = network("resnet18")
    direct = dict(net.named_children())
    stem = nn.Sequential(direct["conv1"], direct["bn1"], nn.ReLU(), direct["maxpool"], direct["layer1"])
    weights = list(direct["layer1"].parameters())
    expected = torch.autograd.grad(stem(x).square().mean(), weights)
    tail = nn.Sequential(*(direct[f"layer{n}"] for n in (2, 3, 4)), direct["avgpool"], nn.Flatten(), direct["fc"])
    middle = stem(x).detach().requires_grad_()
    (expected_at_layer,) = torch.autograd.grad(tail(middle)[:, 2].sum(), middle)
    with capture(net, "layer1") as acts:
        logits = net(x)
    for mine, theirs in zip(torch.autograd.grad(acts["layer1"].square().mean(), weights), expected, strict=True):
        assert torch.equal(mine, theirs)
    (at_layer,) = torch.autograd.grad(logits[:, 2].sum(), acts["layer1"])
    assert torch.equal(at_layer, expected_at_layer)


def test_detach_lets_go_of_the_graph_and_keeps_gradients_where_asked() -> None:
    net, x = network("resnet18")
    expected = cloned_outputs(net, lambda: net(x), ["layer2"])["layer2"][0]
    with capture(net, "layer2", detach=True) as acts:
        net(x)
    assert not acts["layer2"].requires_grad
    assert same(acts["layer2"], expected)
    with capture(identity := nn.Identity(), detach=True):
        assert identity(expected[0].requires_grad_()) is expected[0]  # the network goes on undisturbed
    with capture(net, "layer2", detach=True, grads=True) as both:
        net(x)[:, 0].sum().backward()
    with capture(net, "layer2", grads=True) as kept:
        net(x)[:, 0].sum().backward()
    assert not both["layer2"].requires_grad
    assert torch.equal(both.grad("layer2"), kept.grad("layer2"))
    net.zero_grad()


class Counting(nn.Module):
    """Five layers, each of which counts its calls; the last two fail if they run."""

    def __init__(self) -> None:
        super().__init__()
        self.ran: list[str] = []
        self.a, self.b, self.c = nn.Conv2d(1, 2, 3), nn.Conv2d(2, 3, 3), nn.Conv2d(3, 1, 3)
        for name, layer in self.named_children():
            layer.register_forward_pre_hook(lambda *_, name=name: self.ran.append(name))

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.b(self.a(x)))


def test_stop_ends_the_forward_in_execution_order_not_in_the_order_given() -> None:
    net, x = Counting(), torch.randn(1, 1, 9, 9)
    after = []
    with capture(net, ["b", "a"], stop=True) as acts:
        net(x)
        after.append("the rest of the block")
    assert net.ran == ["a", "b"]
    assert after == []
    assert acts.layers == ["a", "b"]
    assert acts.stopped_at == "b"
    assert torch.equal(acts["b"], net.b(net.a(x)))


def test_stop_works_with_gradients_of_what_ran() -> None:
    net, x = Counting(), torch.randn(1, 1, 9, 9)
    with capture(net, ["a", "b"], stop=True, grads=True) as acts:
        net(x)
    acts["b"].sum().backward()
    expected = torch.nn.functional.conv_transpose2d(torch.ones(1, 3, 5, 5), net.b.weight)
    torch.testing.assert_close(acts.grad("a"), expected)
    assert net.ran == ["a", "b"]


def test_without_stop_all_runs_and_nothing_is_said_of_a_stop() -> None:
    net = Counting()
    with capture(net, "a") as acts:
        net(torch.randn(1, 1, 9, 9))
    assert net.ran == ["a", "b", "c"]
    assert acts.stopped_at is None


@pytest.mark.parametrize("layers", [None, "stages", ["stages", "a"]])
def test_stop_needs_layers_by_name(layers: Any) -> None:
    message = "stop=True needs layers by name: which ones these are is known only when the forward has ended"
    with pytest.raises(LayerError, match=f"^{message}$"), capture(Counting(), layers, stop=True):
        pass


def test_reduce_runs_before_anything_is_kept() -> None:
    net, x = network("resnet18")
    seen = []

    def mean(tensor: Tensor) -> Tensor:
        seen.append(tuple(tensor.shape))
        return tensor.mean((2, 3))

    expected = cloned_outputs(net, lambda: net(x), ["layer1", "layer2"])
    with torch.no_grad(), capture(net, ["layer1", "layer2"], reduce=mean) as acts:
        net(x)
        assert seen == [(2, 64, 16, 16), (2, 128, 8, 8)]
    for layer in acts:
        assert torch.equal(acts[layer], expected[layer][0][0].mean((2, 3)))


def test_device_and_dtype_change_the_capture_and_never_the_network() -> None:
    net, x = network("resnet18")
    plain = net(x)
    for grad in (False, True):
        with torch.set_grad_enabled(grad), capture(net, ["layer1", "fc"], dtype=torch.float64, device="meta") as acts:
            output = net(x)
        assert same(output, plain)
        assert acts["layer1"].device.type == "meta"
        assert acts["layer1"].dtype == torch.float64
    with capture(net, "layer1", dtype=torch.float16, grads=True) as half:
        net(x).sum().backward()
    with capture(net, "layer1", grads=True) as full:
        net(x).sum().backward()
    assert torch.equal(half["layer1"], full["layer1"].half())
    assert torch.equal(half.grad("layer1"), full.grad("layer1").half())
    net.zero_grad()


def test_dtype_leaves_integers_alone() -> None:
    class Winner(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.argmax(1)

    net, x = nn.Sequential(Winner()), torch.randn(3, 4)
    with capture(net, "0", dtype=torch.float16) as acts:
        net(x)
    assert acts["0"].dtype == torch.int64
    assert torch.equal(acts["0"], x.argmax(1))


def test_layers_are_in_execution_order_and_those_inside_come_first() -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last, self.first = nn.Identity(), nn.Sequential(nn.ReLU(), nn.Tanh())

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.first(x))

    net = Backwards()
    with capture(net, ["last", "first", "first.*", ""]) as acts:
        net(torch.randn(2, 2))
    assert acts.layers == ["first.0", "first.1", "first", "last", ""]
    assert list(acts) == acts.layers
    assert len(acts) == 5
    assert "last" in acts
    assert "nothing" not in acts
    assert repr(acts) == "Activations({'first.0': [(2, 2)], 'first.1': [(2, 2)], 'first': [(2, 2)], " + (
        "'last': [(2, 2)], '': [(2, 2)]})"
    )


def test_what_it_captures_through_a_model_is_what_its_network_puts_out() -> None:
    class Model:
        def __init__(self, net: nn.Module) -> None:
            self.net = net

    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    x = torch.randn(1, 1, 5, 5)
    with capture(Model(net), "0") as acts:
        net(x)
    assert torch.equal(acts["0"], net[0](x))


class TwoWays(nn.Module):
    """Has a layer that this forward does not use."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused, self.spare = nn.Conv2d(1, 2, 3), nn.Conv2d(1, 2, 3), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x)


def test_a_layer_that_never_fired_is_an_error_that_names_it() -> None:
    net, x = TwoWays(), torch.randn(1, 1, 5, 5)

    def run(layers: Any, forward: bool = True, **options: Any) -> Callable[[], None]:
        def block() -> None:
            with capture(net, layers, **options):
                if forward:
                    net(x)

        return block

    assert message_of(run(["used", "unused", "spare"])) == (
        "selected, but never ran: 'unused', 'spare'; leave out what this forward does not use"
    )
    assert message_of(run(["unused", "used"], stop=True)) == (
        "selected, but never ran: 'unused'; leave out what this forward does not use"
    )
    assert message_of(run("unused")) == (
        "nothing was captured of 'unused': the network did not run inside the block, or not these layers"
    )
    assert message_of(run("stages", forward=False)) == (
        "nothing was captured of 'stages': the network did not run inside the block, "
        "or no layer puts out maps of a picture"
    )
    assert message_of(run(None, forward=False)) == (
        "nothing was captured: the network did not run inside the block, or not these layers"
    )
    with capture(net) as acts:
        net(x)
    assert acts.layers == ["used"]


def test_a_long_list_of_missing_layers_is_cut() -> None:
    net = nn.ModuleDict({"idle": nn.Sequential(*(nn.ReLU() for _ in range(7))), "used": nn.ReLU()})

    def block() -> None:
        with capture(net, ["idle.*", "used"]):
            net["used"](torch.ones(1))

    assert message_of(block) == (
        "selected, but never ran: 'idle.0', 'idle.1', 'idle.2', 'idle.3', 'idle.4' …; "
        "leave out what this forward does not use"
    )


def test_reading_what_is_not_there_says_what_is() -> None:
    net = Counting()
    with capture(net, ["a", "b"], grads=True) as acts:
        output = net(torch.randn(1, 1, 9, 9))
        assert message_of(lambda: acts["a.weight"]) == "layer 'a.weight' is not in this capture; captured: a, b"
    assert message_of(lambda: acts["c"]) == "layer 'c' is not in this capture; captured: a, b"
    assert message_of(lambda: acts.calls("c")) == "layer 'c' is not in this capture; captured: a, b"
    assert message_of(lambda: acts.grad("a")) == (
        "no gradient has reached layer 'a'; call backward() on something that depends on it"
    )
    output.sum().backward()
    assert message_of(lambda: acts.grad("a", 1)) == "layer 'a' ran 1 times in this capture; there is no call 1"
    assert message_of(lambda: acts.grad("a", -2)) == "layer 'a' ran 1 times in this capture; there is no call -2"
    with capture(net, "a") as without:
        assert message_of(lambda: without["a"]) == "layer 'a' is not in this capture; nothing has been captured yet"
        net(torch.randn(1, 1, 9, 9))
    assert message_of(lambda: without.grad("a")) == ("no gradients are kept for layer 'a'; capture it with grads=True")


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_gradients_need_autograd(mode: Callable[[], Any]) -> None:
    net = Counting()

    def forward() -> None:
        with mode(), capture(net, "a", grads=True):
            net(torch.randn(1, 1, 9, 9))

    assert message_of(forward) == (
        "grads=True needs autograd; run the network outside torch.no_grad() and inference_mode()"
    )


def test_no_copies_cannot_be_checked_in_inference_mode() -> None:
    net = Counting()

    def forward() -> None:
        with torch.inference_mode(), capture(net, "a", copy=False):
            net(torch.randn(1, 1, 9, 9))

    assert message_of(forward) == (
        "copy=False cannot be checked in torch.inference_mode(); use torch.no_grad() or copy=True"
    )


MAPS = {
    "a ViT's tokens": ("vit", "encoder.layers.encoder_layer_1", lambda t: t[:, 1:].mT.unflatten(2, (4, 4))),
    "a Swin's channels-last maps": ("swin", "features.3", lambda t: t.permute(0, 3, 1, 2)),
    "a ConvNeXt's maps": ("convnext", "stages.2", lambda t: t),
    "a CNN's maps": ("resnet18", "layer3", lambda t: t),
}


@pytest.mark.parametrize("what", MAPS)
def test_maps_have_the_channels_second(what: str) -> None:
    name, layer, to_maps = MAPS[what]
    net, x = network(name)
    expected = cloned_outputs(net, lambda: net(x), [layer])[layer][0][0]
    with capture(net, layer, grads=True) as plain:
        net(x)[:, 0].sum().backward()
    with capture(net, layer, grads=True, maps=True) as acts:
        net(x)[:, 0].sum().backward()
    assert torch.equal(acts[layer], to_maps(expected))
    assert torch.equal(acts.grad(layer), to_maps(plain.grad(layer)))
    assert acts[layer].shape[-2:] == acts.grad(layer).shape[-2:]
    net.zero_grad()


def test_maps_of_a_layer_that_has_none_is_an_error() -> None:
    net, x = network("resnet18")

    def forward() -> None:
        with capture(net, "fc", maps=True):
            net(x)

    def part() -> None:
        with capture(net, "layer1", maps=True):
            net.layer1(torch.randn(1, 64, 8, 8))

    assert message_of(forward) == "layer 'fc' puts out (2, 5), which holds no maps (N, C, H, W)"
    assert message_of(part) == (
        "maps=True needs a picture as the network's input; none was given to the network itself"
    )


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("options", [{}, {"grads": True}, {"copy": False}, {"stop": True, "layers": "layer2"}])
def test_the_network_is_as_it_was(training: bool, options: dict[str, Any]) -> None:
    net = tv.resnet18(num_classes=5).train(training)
    net.layer1.eval()
    net.fc.weight.requires_grad_(False)
    net.conv1.weight.grad = torch.ones_like(net.conv1.weight)
    net.register_forward_hook(lambda *_: None)
    x = torch.randn(2, 3, 64, 64)
    if training:
        for layer in net.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = 0.0  # else the forward itself, not the look, would change the buffers
                layer.track_running_stats = False
    before = state_of(net)
    for layer in (None, "fc"):
        with capture(net, **{"layers": layer} | options):
            net(x)
        assert equal_states(state_of(net), before)

    class BrokenError(Exception):
        pass

    def fail(*_: Any) -> None:
        raise BrokenError

    handle = net.layer2.register_forward_pre_hook(fail)
    with pytest.raises(BrokenError), capture(net, **options):
        net(x)
    handle.remove()
    assert equal_states(state_of(net), before)
    with pytest.raises(BrokenError), capture(net, "layer3"):
        raise BrokenError
    assert equal_states(state_of(net), before)
