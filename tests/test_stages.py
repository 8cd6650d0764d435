"""The last layer at each resolution: the rules one by one, and what they find in networks of every family."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
import torchvision.models as tv
from torch import Tensor, nn

from viztool.errors import LayerError
from viztool.hooks import capture
from viztool.hooks.naming import named_layers
from viztool.hooks.stages import StageTracker, repeated_blocks

Layer = tuple[Any, ...]
"""(name, size) of a layer that holds no other; (name, size, [layers]) of a block; the name of a sequence ends in +."""


def track(layers: list[Layer], blocks: list[str] | None = None) -> StageTracker:
    tracker = StageTracker(blocks or [])

    def run(name: str, size: tuple[int, int] | None, inside: list[Layer] | None = None) -> None:
        tracker.enter(name.removesuffix("+"))
        for layer in inside or []:
            run(*layer)
        tracker.exit(name.removesuffix("+"), size, sequence=name.endswith("+"))

    run("", None, layers)
    return tracker


BIG, MIDDLE, SMALL = (32, 32), (16, 16), (8, 8)

RULES: dict[str, tuple[list[Layer], list[str]]] = {
    "a layer gives way to the next at its resolution": (
        [("a", BIG), ("b", BIG), ("c", MIDDLE), ("d", MIDDLE), ("e", SMALL)],
        ["b", "d", "e"],
    ),
    "a block gives way to the one that holds it": ([("block", BIG, [("conv", BIG), ("relu", BIG)])], ["block"]),
    "the steps of a strided block are not the end of the stage before": (
        [("stem", BIG), ("block", MIDDLE, [("conv1", BIG), ("conv2", MIDDLE)])],
        ["stem", "block"],
    ),
    "nor are they a stage if nothing else has their resolution": (
        [("block", MIDDLE, [("conv1", BIG), ("conv2", MIDDLE)])],
        ["block"],
    ),
    "the layers of a plain sequence are": (
        [("trunk+", MIDDLE, [("conv1", BIG), ("conv2", MIDDLE)])],
        ["conv1", "trunk"],
    ),
    "but not if the stage before has their resolution": (
        [("stem", BIG), ("trunk+", MIDDLE, [("norm", BIG), ("conv", MIDDLE)])],
        ["stem", "trunk"],
    ),
    "a block of more than two resolutions is a trunk": (
        [("body", SMALL, [("a", BIG), ("b", MIDDLE), ("c", MIDDLE), ("d", SMALL)])],
        ["a", "c", "body"],
    ),
    "what has no map is passed over": (
        [("a", BIG), ("tokens", None), ("b", MIDDLE), ("fc", None)],
        ["a", "b"],
    ),
    "a pooled vector is no map": ([("a", BIG), ("pool", (1, 1)), ("head", (1, 1))], ["a"]),
    "but a line is": ([("a", (1, 32)), ("b", (1, 16))], ["a", "b"]),
    "a layer that is called twice has no one output": (
        [("a", BIG), ("relu", BIG), ("b", MIDDLE), ("relu", MIDDLE)],
        ["b"],
    ),
    "maps that lose only a border are one stage": (
        [("a", (32, 32)), ("b", (30, 30)), ("c", (28, 28)), ("d", (14, 14)), ("e", (12, 12))],
        ["c", "e"],
    ),
    "up again, the last is the one on the way up": (
        [("down1", BIG), ("down2", MIDDLE), ("low", SMALL), ("up2", MIDDLE), ("up1", BIG)],
        ["low", "up2", "up1"],
    ),
    "a network of one resolution": ([("a", BIG), ("b", BIG)], ["b"]),
    "nothing at all": ([("fc", None)], []),
}


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_by_itself(rule: str) -> None:
    layers, stages = RULES[rule]
    assert track(layers).stages() == stages


def test_a_network_that_never_shrinks_is_seen_at_four_depths() -> None:
    def blocks(count: int) -> list[Layer]:
        return [(f"blocks.{index}", BIG, [(f"blocks.{index}.norm", BIG)]) for index in range(count)]

    def stages(count: int) -> list[str]:
        layers = [("embed", BIG), *blocks(count), ("norm", BIG)]
        return track(layers, [name for name, *_ in blocks(count)]).stages()

    assert stages(12) == ["blocks.2", "blocks.5", "blocks.8", "blocks.11"]
    assert stages(4) == ["blocks.0", "blocks.1", "blocks.2", "blocks.3"]
    assert stages(7) == ["blocks.0", "blocks.2", "blocks.4", "blocks.6"]
    assert stages(3) == ["norm"]


def test_layers_that_run_several_times_count_by_their_last_call_if_repeats_do() -> None:
    tracker = StageTracker(repeats=True)
    for name, size in [("a", BIG), ("relu", BIG), ("b", MIDDLE), ("relu", MIDDLE)]:
        tracker.enter(name)
        tracker.exit(name, size)
    assert tracker.stages() == ["relu"]


def test_what_can_be_no_stage_any_more_is_not_alive() -> None:
    tracker = StageTracker([])
    alive = []
    for name, size in [("a", BIG), ("b", BIG), ("c", MIDDLE), ("d", MIDDLE)]:
        tracker.enter(name)
        tracker.exit(name, size)
        alive.append(sorted(tracker.alive))
    assert alive == [["a"], ["b"], ["b", "c"], ["b", "d"]]


def test_a_layer_that_raised_and_was_gone_on_without_leaves_no_trace() -> None:
    tracker = StageTracker([])

    def layer(name: str, size: tuple[int, int]) -> None:
        tracker.enter(name)
        tracker.exit(name, size)

    tracker.enter("")
    layer("stem", BIG)
    tracker.enter("block")
    layer("block.conv1", BIG)
    for name in ("block.broken", "block.broken.inside"):
        tracker.enter(name)
    layer("block.conv2", MIDDLE)
    tracker.exit("block", MIDDLE)
    tracker.enter("broken")
    layer("last", SMALL)
    tracker.exit("", None)
    assert tracker.stages() == ["stem", "block", "last"]


def test_repeated_blocks_are_the_longest_run_of_one_class() -> None:
    class Block(nn.Module):
        pass

    net = nn.Module()
    net.short = nn.Sequential(nn.ReLU(), nn.ReLU())
    net.blocks = nn.ModuleList([Block(), Block(), nn.ReLU(), Block(), Block(), Block()])
    net.by_name = nn.ModuleDict({str(index): Block() for index in range(9)})
    assert repeated_blocks(named_layers(net)) == ["blocks.3", "blocks.4", "blocks.5"]
    assert repeated_blocks(named_layers(nn.Sequential(nn.ReLU(), nn.ReLU()))) == ["0", "1"]
    assert repeated_blocks(named_layers(nn.ReLU())) == []


class UNet(nn.Module):
    """Two levels down and up, with skips."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2, self.low = (self.block(*channels) for channels in [(3, 4), (4, 8), (8, 16)])
        self.pool, self.up = nn.MaxPool2d(2), nn.Upsample(scale_factor=2)
        self.up2, self.up1 = self.block(24, 8), self.block(12, 4)
        self.out = nn.Conv2d(4, 2, 1)

    @staticmethod
    def block(inside: int, out: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(inside, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        one = self.down1(x)
        two = self.down2(self.pool(one))
        low = self.low(self.pool(two))
        two = self.up2(torch.cat([self.up(low), two], 1))
        return self.out(self.up1(torch.cat([self.up(two), one], 1)))


class SideOutputs(nn.Module):
    """HED (Xie and Tu 2015): each stage makes edges of its own, and the network puts them together."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = (self.stage(*channels) for channels in [(3, 4), (4, 8), (8, 16)])
        self.edges = nn.ModuleList([nn.Conv2d(channels, 1, 1) for channels in (4, 8, 16)])
        self.together = nn.Sequential(nn.Conv2d(3, 1, 1), nn.Sigmoid())
        self.pool = nn.MaxPool2d(2)

    @staticmethod
    def stage(inside: int, out: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(inside, out, 3, padding=1), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        one = self.one(x)
        two = self.two(self.pool(one))
        three = self.three(self.pool(two))
        edges = [edge(stage) for edge, stage in zip(self.edges, (one, two, three), strict=True)]
        edges = [nn.functional.interpolate(each, x.shape[-2:], mode="bilinear") for each in edges]
        return self.together(torch.cat(edges, 1))


def two_resolutions() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 8, 3, 2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 2),
    )


def trunk_and_head() -> nn.Module:
    trunk = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 8, 3, 2, padding=1), nn.ReLU())
    return nn.Sequential(trunk, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))


class Strided(nn.Module):
    """A block, not a sequence, the first layer of which has maps of the picture's size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, 2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(self.conv1(x))


VIT_QUARTERS = [f"encoder.layers.encoder_layer_{block}" for block in (2, 5, 8, 11)]
NETWORKS: dict[str, tuple[Callable[[], nn.Module], list[str]]] = {
    "resnet50": (tv.resnet50, ["relu", "layer1", "layer2", "layer3", "layer4"]),
    "vgg16": (tv.vgg16, ["features.3", "features.8", "features.15", "features.22", "features.29", "features"]),
    "densenet121": (
        tv.densenet121,
        ["features.relu0", "features.denseblock1", "features.denseblock2", "features.denseblock3", "features"],
    ),
    "alexnet": (tv.alexnet, ["features.1", "features.4", "features.11", "features"]),
    "squeezenet": (tv.squeezenet1_1, ["features.1", "features.4", "features.7", "features"]),
    "convnext_tiny": (tv.convnext_tiny, ["features.1", "features.3", "features.5", "features"]),
    "swin_t": (tv.swin_t, ["features.1", "features.3", "features.5", "permute"]),
    "vit_b_16": (tv.vit_b_16, VIT_QUARTERS),
    "mobilenet_v3": (tv.mobilenet_v3_large, ["features.1", "features.3", "features.6", "features.12", "features"]),
    "fcn_resnet50": (
        lambda: tv.segmentation.fcn_resnet50(weights=None, weights_backbone=None),
        ["backbone.relu", "backbone.layer1", "classifier"],
    ),
    "timm tf_efficientnet_lite0": (
        lambda: timm.create_model("tf_efficientnet_lite0"),
        ["blocks.0", "blocks.1", "blocks.2", "blocks.4", "bn2"],
    ),
    "timm convnext_atto": (
        lambda: timm.create_model("convnext_atto"),
        ["stages.0", "stages.1", "stages.2", "stages"],
    ),
    "timm vit with registers": (
        lambda: timm.create_model("vit_small_patch14_reg4_dinov2", img_size=224),
        ["blocks.2", "blocks.5", "blocks.8", "blocks.11"],
    ),
    "U-Net": (UNet, ["low", "up2", "out"]),
    "side outputs": (SideOutputs, ["one", "two", "three"]),
    "two resolutions": (two_resolutions, ["1", "3"]),
    "a trunk of two resolutions": (trunk_and_head, ["0.1", "0"]),
    "a strided block": (lambda: nn.Sequential(Strided(), nn.Flatten()), ["0"]),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_stages_of_a_network(name: str) -> None:
    build, stages = NETWORKS[name]
    with torch.device("meta"):
        net, x = build().eval(), torch.empty(2, 3, 224, 224)
    with torch.no_grad(), capture(net, "stages") as acts:
        net(x)
        assert acts.layers == stages
        net(x)
    assert acts.layers == stages
    assert [len(acts.calls(layer)) for layer in stages] == [2] * len(stages)


@pytest.mark.parametrize("grads", [False, True])
def test_what_is_captured_of_the_stages_is_what_they_put_out(grads: bool) -> None:
    net, x = UNet().eval(), torch.randn(1, 3, 16, 24)
    outputs: dict[str, Tensor] = {}
    for layer in ("low", "up2", "out"):
        net.get_submodule(layer).register_forward_hook(
            lambda _, args, output, layer=layer: outputs.__setitem__(layer, output.detach().clone())
        )
    with capture(net, "stages", grads=grads) as acts:
        net(x).sum().backward()
    assert {layer: torch.equal(acts[layer], output) for layer, output in outputs.items()} == dict.fromkeys(
        outputs, True
    )
    if grads:
        assert torch.equal(acts.grad("out"), torch.ones(1, 2, 16, 24))
        assert acts.grad("up2").shape == (1, 8, 8, 12)


def test_a_forward_that_fails_is_not_the_one_that_shows_the_stages() -> None:
    net = two_resolutions()
    with capture(net, "stages") as acts:
        with pytest.raises(RuntimeError):
            net(torch.randn(1, 5, 8, 8))
        net(torch.randn(1, 3, 8, 8))
    assert acts.layers == ["1", "3"]


def test_heads_and_windows_of_attention_are_no_maps() -> None:
    class Attention(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(2).unflatten(1, (2, 3)).mT  # (N, heads, tokens, channels)

    net = nn.Sequential(nn.Conv2d(3, 6, 2, stride=2), Attention(), nn.Identity())
    with capture(net, "stages") as acts:
        net(torch.randn(1, 3, 16, 16))
    assert acts.layers == ["0"]


def test_what_has_no_maps_says_so() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.ReLU())
    message = (
        r"^nothing was captured of 'stages': the network did not run inside the block, "
        "or no layer puts out maps of a picture$"
    )
    with pytest.raises(LayerError, match=message), capture(net, "stages"):
        net(torch.randn(1, 3, 2, 2))


def squeezed(step: tuple[int, int]) -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 6, 3, (1, 3), 1), nn.ReLU(), nn.Conv2d(6, 8, 3, step, 1), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)),
    )


def test_where_no_maps_have_the_pictures_proportions_those_are_taken_that_surely_are_maps() -> None:
    net = squeezed((1, 2)).eval()
    with torch.no_grad(), capture(net, "stages") as acts:
        net(torch.randn(1, 3, 24, 24))
    assert {name: tuple(acts[name].shape[2:]) for name in acts} == {"1": (24, 8), "3": (24, 4)}


def test_where_some_have_them_the_others_are_no_stages() -> None:
    net = squeezed((3, 1)).eval()
    with torch.no_grad(), capture(net, "stages") as acts:
        net(torch.randn(1, 3, 24, 24))
    assert acts.layers == ["3"]


def test_a_network_of_one_block_that_runs_twice_is_shown_as_it_is_after_the_last() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.block(self.block(x)).mean((2, 3))

    torch.manual_seed(0)
    net, x = Twice(), torch.randn(1, 3, 12, 16)
    with torch.no_grad(), capture(net, "stages") as acts:
        net(x)
        assert torch.equal(acts["block"], net.block(net.block(x)))
