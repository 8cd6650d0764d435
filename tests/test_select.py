"""Which layers a pattern names, and what an unknown one is answered with."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import nn

from viztool.errors import LayerError
from viztool.hooks import capture
from viztool.hooks.naming import leaf_names, named_layers
from viztool.hooks.select import nearest, select


class Block(nn.Sequential):
    pass


def network() -> nn.Module:
    net = nn.Sequential()
    net.stem = nn.Conv2d(1, 2, 3)
    net.layer1 = nn.Sequential(
        Block(nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2), nn.ReLU()), Block(nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2))
    )
    net.layer10 = nn.Sequential(nn.ReLU6(), nn.LazyConv2d(4, 1))
    net.head = nn.Linear(2, 2)
    return net


LAYERS = named_layers(network())

PICKED: dict[str, list[str]] = {
    "": [""],
    "layer1": ["layer1"],
    "layer1.0.1": ["layer1.0.1"],
    "layer1.?": ["layer1.0", "layer1.1"],
    "layer1.*": ["layer1.0", "layer1.0.0", "layer1.0.1", "layer1.0.2", "layer1.1", "layer1.1.0", "layer1.1.1"],
    "layer1.*.0": ["layer1.0.0", "layer1.1.0"],
    "*.1": ["layer1.0.1", "layer1.1", "layer1.1.1", "layer10.1"],
    "layer[!1]*": [],
    "[hs]*": ["stem", "head"],
    "*": [name for name in LAYERS if name],
    "re:layer1": ["layer1"],
    r"re:layer\d+": ["layer1", "layer10"],
    r"re:.*\.(0|2)": ["layer1.0", "layer1.0.0", "layer1.0.2", "layer1.1.0", "layer10.0"],
    "re:.*": [name for name in LAYERS if name],
    "type:Conv2d": ["stem", "layer1.0.0", "layer1.1.0", "layer10.1"],
    "type:ReLU": ["layer1.0.2"],
    "type:Hardtanh": ["layer10.0"],
    "type:Block": ["layer1.0", "layer1.1"],
    "type:_BatchNorm": ["layer1.0.1", "layer1.1.1"],
    "type:Module": list(LAYERS),
}


@pytest.mark.parametrize("pattern", [pattern for pattern, names in PICKED.items() if names])
def test_a_pattern_picks_by_name_glob_expression_or_type(pattern: str) -> None:
    assert select(LAYERS, pattern) == PICKED[pattern]


def test_several_patterns_pick_each_layer_once_and_in_definition_order() -> None:
    assert select(LAYERS, ["head", "layer1.?", "stem", "layer1.0", "type:Linear"]) == [
        "stem",
        "layer1.0",
        "layer1.1",
        "head",
    ]


def test_an_exact_name_comes_before_what_its_characters_could_mean() -> None:
    layers = {name: nn.Identity() for name in ["", "a[1]", "a1", "b*", "bb", "re:x", "type:y", "type:z!"]}
    assert select(layers, "a[1]") == ["a[1]"]
    assert select(layers, "b*") == ["b*"]
    assert select(layers, "re:x") == ["re:x"]
    assert select(layers, "type:y") == ["type:y"]
    assert select(layers, "re:b.*") == ["b*", "bb"]


def test_case_matters() -> None:
    with pytest.raises(LayerError, match=r"^no layer matches 'Layer1'; nearest: layer1, layer10, layer1\.1$"):
        select(LAYERS, "Layer1")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("layer2", "no layer matches 'layer2'; nearest: layer1, layer10, layer1.0.2"),
        ("heed", "no layer matches 'heed'; nearest: head"),
        ("0.2", "no layer matches '0.2'; nearest: layer1.0.2"),
        ("quite another", "no layer matches 'quite another'; nearest: stem, layer1, layer1.0"),
        ("layer[!1]*", "no layer matches 'layer[!1]*'; nearest: layer1, layer10, layer1.1"),
        ("re:layer", "no layer matches 're:layer'; nearest: layer1, layer10, layer1.1"),
        ("re:st", "no layer matches 're:st'; nearest: stem"),
        ("re:(", "'re:(' is not a regular expression: missing ), unterminated subpattern at position 0"),
        ("type:Conv", "no layer matches 'type:Conv'; nearest: type:Conv2d, type:LazyConv2d"),
        ("type:Transformer", "no layer matches 'type:Transformer'; nearest: type:BatchNorm2d, type:Block, type:Conv2d"),
        ([], "no layer is named; name at least one, or leave the selection out to take all"),
        (["stem", "x.y.z"], "no layer matches 'x.y.z'; nearest: stem, layer1, layer1.0"),
    ],
)
def test_what_picks_nothing_is_answered_with_the_nearest(pattern: Any, message: str) -> None:
    with pytest.raises(LayerError, match=f"^{re.escape(message)}$"):
        select(LAYERS, pattern)
    net = network()
    with pytest.raises(LayerError, match=f"^{re.escape(message)}$"), capture(net, pattern):
        raise AssertionError("the block must not begin")


def test_a_network_without_layers_says_so() -> None:
    with pytest.raises(LayerError, match=r"^no layer matches 'conv'; the network holds no layers$"):
        select(named_layers(nn.ReLU()), "conv")


def test_nearest_takes_the_ends_of_names_too_and_three_at_most() -> None:
    known = ["", "encoder.block1.attention.qkv", "encoder.block2.attention.qkv", "qkv2", "head", "x.qkv", "y.qkv"]
    assert nearest("qkv", known) == ["qkv2", "y.qkv", "x.qkv"]
    assert nearest("attention.qkv", known) == ["encoder.block2.attention.qkv", "encoder.block1.attention.qkv"]
    assert nearest("encoder.block1.attention.kv", known)[0] == "encoder.block1.attention.qkv"
    assert nearest("", known) == []


def test_the_stages_word_goes_with_others_and_a_layer_of_that_name_is_reached_otherwise() -> None:
    net = nn.Sequential()
    net.stem = nn.Conv2d(1, 2, 2, stride=2)
    net.stages = nn.Sequential(nn.Conv2d(2, 2, 2, stride=2), nn.ReLU())
    net.head = nn.Sequential(nn.Flatten(), nn.Linear(2 * 4 * 4, 2))
    x = torch.randn(1, 1, 16, 16)
    expected = {"stages": ["stem", "stages"], "re:stages": ["stages"]}
    for pattern, layers in expected.items():
        with capture(net, pattern) as acts:
            net(x)
        assert acts.layers == layers
    with capture(net, ["head.1", "stages", "stages.0"]) as acts:
        net(x)
    assert acts.layers == ["stem", "stages.0", "stages", "head.1"]
    with pytest.raises(LayerError, match=r"^no layer matches 'nothing'; "), capture(net, ["stages", "nothing"]):
        pass


def test_leaves_are_the_layers_that_hold_no_other_each_once() -> None:
    shared = nn.ReLU()
    net = nn.Sequential(nn.Conv2d(1, 1, 1), shared, nn.Sequential(shared, nn.Sequential()))
    assert leaf_names(named_layers(net)) == ["0", "1", "2.1"]
    assert leaf_names(named_layers(nn.ReLU())) == [""]
    assert list(named_layers(net)) == ["", "0", "1", "2", "2.0", "2.1"]
