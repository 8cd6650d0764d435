"""Whole networks: figures from the literature, and gradients in networks of every family."""

from __future__ import annotations

import random

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from receptive_field_oracle import boxes
from torch import nn
from torchvision import models
from torchvision.ops import SqueezeExcitation

from viztool.inspect import FieldTracer, receptive_fields
from viztool.tensors.tree import tensors_in


@pytest.mark.parametrize(
    ("build", "sizes"),
    [
        (models.alexnet, {"features": 195}),
        (models.vgg16, {"features": 212}),
        (models.resnet18, {"conv1": 7, "maxpool": 11, "layer1": 43, "layer2": 99, "layer3": 211, "layer4": 435}),
        (models.resnet50, {"layer1": 35, "layer2": 91, "layer3": 267, "layer4": 427}),
    ],
)
def test_figures(build, sizes):
    with torch.device("meta"):
        net, x = build(weights=None), torch.zeros(1, 3, 64, 64)
    fields = receptive_fields(net, x)
    assert {name: fields[name].size for name in sizes} == {name: (size, size) for name, size in sizes.items()}


def test_size_stride_and_offset():
    """Padding makes a field begin before the picture: centres of a padded network stay on its own grid."""
    fields = receptive_fields(models.resnet18(weights=None), torch.rand(1, 3, 64, 96))
    for name, stride, size in [("conv1", 2, 7), ("layer1", 4, 43), ("layer2", 8, 99), ("layer4", 32, 435)]:
        field = fields[name]
        assert (field.size, field.stride) == ((size, size), (stride, stride))
        assert field.offset == (-(size - 1) // 2,) * 2
        assert not field.global_context
    assert fields["avgpool"].everything
    assert fields["avgpool"].size == (64, 96)
    assert fields["fc"] is None
    assert list(fields)[-2:] == ["fc", ""]


def test_same_padding_is_not_symmetric():
    fields = receptive_fields(timm.create_model("tf_efficientnet_lite0"), torch.rand(1, 3, 224, 224))
    assert (fields["conv_stem"].size, fields["conv_stem"].offset) == ((3, 3), (0, 0))
    assert fields["blocks.1.0.conv_dw"].offset == (-2, -2)
    odd = receptive_fields(timm.create_model("tf_efficientnet_lite0"), torch.rand(1, 3, 225, 224))
    assert odd["conv_stem"].offset == (-1, 0)


class Unet(nn.Module):
    """Down and up again, by transposed convolution and by interpolation, with skips."""

    def __init__(self):
        super().__init__()
        self.down1, self.down2, self.down3 = conv(3, 4), conv(4, 6), conv(6, 8)
        self.up2 = nn.ConvTranspose2d(8, 6, 2, stride=2)
        self.join2 = conv(12, 6)
        self.up1 = nn.Upsample(scale_factor=2, mode="bilinear")
        self.join1 = conv(10, 4)

    def forward(self, x):
        one = self.down1(x)
        two = self.down2(F.max_pool2d(one, 2))
        three = self.down3(F.max_pool2d(two, 2))
        two = self.join2(torch.cat([self.up2(three), two], 1))
        return self.join1(torch.cat([self.up1(two), one], 1))


class Dilated(nn.Module):
    """Atrous pyramid with kernels and strides that are not square."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, (3, 5), stride=(1, 2), padding=(1, 0))
        self.pool = nn.MaxPool2d((3, 2), (2, 1), (1, 0), ceil_mode=True)
        self.branches = nn.ModuleList([nn.Conv2d(4, 4, 3, padding=rate, dilation=rate) for rate in (1, 3, 5)])
        self.head = nn.Conv2d(12, 4, (1, 3))

    def forward(self, x):
        x = self.pool(self.stem(x))
        return self.head(torch.cat([branch(x) for branch in self.branches], 1))


def conv(channels, features):
    return nn.Sequential(nn.Conv2d(channels, features, 3, padding=1), nn.BatchNorm2d(features), nn.ReLU(inplace=True))


def small_densenet():
    return torchvision.models.DenseNet(growth_rate=4, block_config=(2, 3, 2), num_init_features=6, bn_size=2)


NETWORKS = {
    "resnet18": (lambda: models.resnet18(weights=None), (144, 128), ["layer1", "layer2.0.downsample", "layer2"]),
    "bottlenecks": (
        lambda: models.ResNet(models.resnet.Bottleneck, [1, 2, 1, 1], num_classes=2),
        (144, 128),
        ["layer2", "layer3.0.conv2", "layer4"],
    ),
    "dense": (small_densenet, (192, 176), ["features.denseblock2.denselayer3", "features.denseblock3"]),
    "inception": (
        lambda: models.GoogLeNet(init_weights=False, aux_logits=False),
        (160, 144),
        ["inception3a", "inception3b.branch2.0", "inception4a"],
    ),
    "mobilenet_v2": (
        lambda: models.mobilenet_v2(weights=None),
        (224, 192),
        ["features.3", "features.7", "features.10"],
    ),
    "shufflenet_v2": (
        lambda: models.shufflenet_v2_x0_5(weights=None),
        (224, 224),
        ["stage2.0", "stage2.3.branch2", "stage3.1"],
    ),
    "convnext_tiny": (lambda: models.convnext_tiny(weights=None), (128, 120), ["features.1", "features.2"]),
    "SAME": (
        lambda: timm.create_model("tf_efficientnet_lite0"),
        (224, 192),
        ["blocks.1", "blocks.2.0.conv_dw", "blocks.3.0"],
    ),
    "view tricks": (
        lambda: timm.create_model("tresnet_m"),
        (128, 128),
        ["body.conv1.conv", "body.layer1.0.conv2.conv"],
    ),
    "res2net": (lambda: timm.create_model("res2net50_26w_4s"), (160, 128), ["layer1.0.convs.2", "layer2.0.conv3"]),
    "high resolution": (
        lambda: timm.create_model("hrnet_w18_small"),
        (224, 192),
        ["stage2.0.fuse_layers.0.1", "stage3.0.branches.0.0.conv1"],
    ),
    "unet": (Unet, (96, 80), ["down3", "up2", "join2", "up1", "join1", "join1.0"]),
    "dilated": (Dilated, (64, 72), ["pool", "branches.2", "head"]),
}


def look(net, x):
    """{layer: (axes, output shape)} of a forward."""
    seen = {}
    handles = []
    net.eval()
    with torch.no_grad(), FieldTracer(net, x) as fields:
        for name, module in net.named_modules():

            def note(module, args, output, name=name):
                first = next(tensors_in(output))
                seen[name] = fields.axes(first), tuple(first.shape)

            handles.append(module.register_forward_hook(note))
        net(x)
    for handle in handles:
        handle.remove()
    return seen


def inner_units(axes, shape, size, count, rng):
    """Some units whose fields are inside the picture."""
    places = [
        [i for i in range(length) if axis.span(i)[0] >= 0 and axis.span(i)[1] <= extent]
        for axis, length, extent in zip(axes, shape[2:], size, strict=True)
    ]
    if not all(places):
        return []
    return list(dict.fromkeys(tuple(map(rng.choice, places)) for _ in range(count)))


def compare(net, size, names, *, units, seed=0):
    """How many units of these layers were found to see exactly the pixels that have a gradient."""
    rng = random.Random(seed)
    seen = look(net, torch.rand(1, 3, *size))
    wanted = {name: inner_units(*seen[name], size, units, rng) for name in names}
    found = boxes(net, (1, 3, *size), wanted)
    for (name, unit), box in found.items():
        spans = tuple(axis.span(place) for axis, place in zip(seen[name][0], unit, strict=True))
        assert (name, unit, box) == (name, unit, spans)
    return {name for name, _ in found}, len(found)


@pytest.mark.parametrize("name", NETWORKS)
def test_units_see_the_pixels_with_a_gradient(name):
    build, size, names = NETWORKS[name]
    compared, count = compare(build(), size, names, units=3)
    assert compared == set(names)
    assert count >= 2 * len(names)


def test_the_last_layer_of_a_deep_network():
    net = models.resnet18(weights=None)
    net.avgpool, net.fc = nn.Identity(), nn.Identity()
    field = receptive_fields(net, torch.rand(1, 3, 64, 64))["layer4"]
    start, end = field.offset[0] + 32 * 7, field.offset[0] + 32 * 7 + 435
    assert boxes(net, (1, 3, 480, 480), {"layer4": [(7, 7)]}) == {("layer4", (7, 7)): ((start, end), (start, end))}


def random_layer(rng):
    kernel = (rng.randint(1, 4), rng.randint(1, 4))
    stride = (rng.randint(1, 2), rng.randint(1, 2))
    padding = (rng.randint(0, kernel[0] // 2), rng.randint(0, kernel[1] // 2))
    dilation = (rng.randint(1, 2), rng.randint(1, 2))
    kinds = {
        "conv": lambda: nn.Conv2d(3, 3, kernel, stride, padding, dilation),
        "max": lambda: nn.MaxPool2d(kernel, stride, padding, dilation),
        "ceil": lambda: nn.AvgPool2d(kernel, stride, padding, ceil_mode=True),
        "transposed": lambda: nn.ConvTranspose2d(3, 3, (stride[0] + 1, stride[1] + 2), stride, (0, 1)),
        "nearest": lambda: nn.Upsample(scale_factor=stride),
        "bilinear": lambda: nn.Upsample(scale_factor=stride, mode="bilinear"),
        "pad": lambda: nn.ZeroPad2d((2, 0, 0, 1)),
        "residual": lambda: Residual(kernel[0] * 2 - 1, dilation[1]),
    }
    return kinds[rng.choice(["conv", *kinds])]()


def random_stack(rng):
    """Layers of every kind in a row."""
    return nn.Sequential(*(random_layer(rng) for _ in range(rng.randint(2, 6))), nn.Conv2d(3, 3, 1))


class Residual(nn.Module):
    def __init__(self, kernel, dilation):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, (kernel, 3), padding="same", dilation=(1, dilation))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.conv(x)
        y += x
        return self.relu(y)


def test_random_stacks():
    total = 0
    for seed in range(60):
        rng = random.Random(seed)
        net = random_stack(rng)
        size = (rng.randint(60, 80), rng.randint(60, 80))
        _, count = compare(net, size, [str(len(net) - 1)], units=4, seed=seed)
        total += count
    assert total > 150


def test_squeeze_and_excitation_is_context_and_no_wider():
    net = models.efficientnet_b0(weights=None)
    x = torch.rand(1, 3, 64, 64)
    with_gates = receptive_fields(net, x)
    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, SqueezeExcitation):
                setattr(module, name, nn.Identity())
    without = receptive_fields(net, x)
    compared = 0
    for name, field in without.items():
        if field is None or field.everything:
            continue
        gated = with_gates[name]
        assert (gated.size, gated.stride, gated.offset) == (field.size, field.stride, field.offset)
        assert not field.global_context
        assert gated.global_context == (name not in BEFORE_THE_FIRST_GATE)
        compared += 1
    assert compared > 200


BEFORE_THE_FIRST_GATE = {
    *("features.0", "features.0.0", "features.0.1", "features.0.2"),
    *("features.1.0.block.0", "features.1.0.block.0.0", "features.1.0.block.0.1", "features.1.0.block.0.2"),
}


def test_transformers_have_fields_up_to_their_first_attention():
    with torch.device("meta"):
        vit, swin, x = models.vit_b_16(weights=None), models.swin_t(weights=None), torch.zeros(1, 3, 224, 224)
    fields = receptive_fields(vit, x)
    assert {name for name, field in fields.items() if field is not None} == {"conv_proj"}
    assert (fields["conv_proj"].size, fields["conv_proj"].stride, fields["conv_proj"].offset) == (
        (16, 16),
        (16, 16),
        (0, 0),
    )
    fields = receptive_fields(swin, x)
    known = [name for name, field in fields.items() if field is not None]
    assert known == ["features.0.0", "features.0.1", "features.0.2", "features.0", "features.1.0.norm1"]
    assert all(fields[name].size == (4, 4) for name in known)


def test_segmentation_by_bilinear_upsampling():
    """The classifier's maps are enlarged eightfold: a pixel's unit has a finer stride and a wider field."""
    net = models.segmentation.fcn_resnet50(weights=None, weights_backbone=None)
    x = torch.rand(1, 3, 64, 64)
    net.eval()
    with torch.no_grad(), FieldTracer(net, x) as fields:
        out = net(x)["out"]
    inner = receptive_fields(net, x)["classifier"]
    outer = fields.of(out)
    assert (inner.stride, outer.stride) == ((8, 8), (1, 1))
    assert outer.size == (inner.size[0] + 8, inner.size[1] + 8)


def test_detection_from_a_list_of_pictures():
    """The picture is enlarged 4/3-fold inside the network, so a stride of 32 is one of 24 of its own pixels."""
    net = models.detection.fasterrcnn_mobilenet_v3_large_fpn(
        weights=None, weights_backbone=None, min_size=128, max_size=128
    )
    fields = receptive_fields(net, [torch.rand(3, 96, 96)])
    assert fields["backbone.body.0.0"].stride == (1.5, 1.5)
    assert fields["backbone.body.0.0"].size == (4, 4)
    assert fields["backbone.body.16"].stride == (24, 24)
    assert fields["roi_heads.box_roi_pool"] is None


def test_the_network_is_left_as_it_was():
    net = models.resnet18(weights=None).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    receptive_fields(net, torch.rand(2, 3, 64, 64))
    assert all(module.training for module in net.modules())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_the_oracle_finds_the_figures_too():
    found = boxes(models.alexnet(weights=None), (1, 3, 256, 256), {"features.12": [(3, 3)], "features.2": [(9, 9)]})
    assert [bottom - top for (top, bottom), _ in found.values()] == [195, 19]
