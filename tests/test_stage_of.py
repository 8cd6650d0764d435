"""Which stage a layer is in, and that sheets say it."""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision.models as tv
from kernel_nets import shared
from torch import nn

import viztool
from viztool.inspect.stage import Stage, numbered, stages_of

BIG, SMALL = (32, 32), (16, 16)


def of(net, layer, size=64):
    found = stages_of(viztool.wrap_model(net.eval(), size=size)).get(layer)
    return None if found is None else found.of(layer)


def test_a_layer_is_in_the_next_stage_to_end_at_its_resolution():
    sizes = {"stem": BIG, "first": BIG, "widen": BIG, "shrink": SMALL, "second": SMALL, "after": SMALL, "tiny": (3, 3)}
    found = numbered(["first", "second"], sizes)
    first, second = Stage(1, 2, "first"), Stage(2, 2, "second")
    assert found == {
        "stem": first,
        "first": first,
        "widen": first,
        "shrink": second,
        "second": second,
        "after": second,
    }


def test_a_resolution_that_comes_twice_is_two_stages():
    sizes = {"down": BIG, "middle": SMALL, "inside": BIG, "up": BIG}
    assert {layer: one.number for layer, one in numbered(["down", "middle", "up"], sizes).items()} == {
        "down": 1,
        "middle": 2,
        "inside": 3,
        "up": 3,
    }


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        ("relu", "end of stage 1 of 5"),
        ("layer1.1.bn2", "in stage 2 of 5"),
        ("layer1", "end of stage 2 of 5"),
        ("layer4.1.bn2", "in stage 5 of 5"),
        ("layer4", "end of stage 5 of 5"),
        ("fc", None),
    ],
)
def test_layers_of_a_residual_network(layer, said):
    assert of(tv.resnet18(), layer) == said


def test_a_name_that_says_nothing():
    assert of(timm.create_model("tf_efficientnet_lite0"), "bn2") == "end of stage 5 of 5"


def test_a_network_of_one_resolution_has_no_stages_to_number():
    assert stages_of(viztool.wrap_model(timm.create_model("vit_tiny_patch16_224", img_size=64).eval(), size=64)) == {}


def test_a_network_that_does_not_run_has_none_and_its_error_comes_where_it_is_looked_at():
    broken = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(5, 4, 3))
    assert stages_of(viztool.wrap_model(broken, size=32)) == {}


def test_one_forward_finds_the_stages_too(tmp_path):
    runs = []
    net = tv.resnet18().eval()
    net.register_forward_hook(lambda *_: runs.append(1))
    maps = viztool.feature_maps(net, torch.zeros(1, 3, 64, 64), ["layer1.1.bn2", "layer2"])
    assert len(runs) == 1
    assert [layer.stage for layer in maps.layers] == [Stage(2, 5, "layer1"), Stage(3, 5, "layer2")]
    assert [layer["stage"]["number"] for layer in maps.numbers["layers"]] == [2, 3]
    maps.save(tmp_path / "x.svg")
    svg = (tmp_path / "x.svg").read_text(encoding="utf-8")
    assert ">in stage 2 of 5<" in svg and ">end of stage 3 of 5<" in svg


def test_a_sheet_of_kernels_says_its_stage(tmp_path):
    sheet = viztool.visualize_kernels(shared(), "norm", [0], steps=1, size=24)
    assert sheet.numbers["stage"] == {"number": 1, "count": 2, "end": "relu"}
    sheet.save(tmp_path / "x.svg")
    assert "in stage 1 of 2, BatchNorm2d" in (tmp_path / "x.svg").read_text(encoding="utf-8")
