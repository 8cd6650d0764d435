"""The layer that is looked at when none is named: the last with maps that the output depends on."""

import pytest
import timm
import torch
from cam_nets import Odd, images, pooled
from torch import nn
from torchvision import models

from viztool.cam import class_activation_map
from viztool.cam.layer_choice import choose_layer, stages
from viztool.errors import LayerError

SIDE = 64


def resnet():
    return models.resnet.ResNet(models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=5)


def vgg():
    net = models.vgg.VGG(models.vgg.make_layers([8, "M", 16, "M", 512, "M"]), init_weights=False, num_classes=5)
    net.classifier = nn.Linear(512 * 7 * 7, 5)
    return net


def densenet():
    return models.DenseNet(growth_rate=4, block_config=(2, 2, 2), num_init_features=8, num_classes=5)


def convnext():
    blocks = [models.convnext.CNBlockConfig(8, 16, 1), models.convnext.CNBlockConfig(16, None, 1)]
    return models.ConvNeXt(blocks, num_classes=5)


def swin():
    return models.SwinTransformer([4, 4], 16, [1, 1], [2, 2], [4, 4], num_classes=5)


def vit(**options):
    return lambda: timm.create_model(
        "vit_tiny_patch16_224", img_size=SIDE, depth=3, embed_dim=48, num_heads=3, **options
    )


def vit_of_torchvision():
    net = models.VisionTransformer(SIDE, 16, 3, 3, 48, 96, num_classes=5)
    nn.init.normal_(net.heads.head.weight)  # zeros, as it is made
    return net


NETWORKS = {
    "resnet": (resnet, "layer4"),
    "vgg": (vgg, "features"),
    "densenet": (densenet, "features"),
    "mobilenet": (lambda: models.mobilenet_v3_small(num_classes=5), "features"),
    "convnext": (convnext, "features"),
    # The head pools what comes out of the permutation from channels last.
    "swin": (swin, "permute"),
    # Of a class token the patches behind the last attention say nothing.
    "vit, class token": (vit(), "blocks.2.norm1"),
    "vit of torchvision": (vit_of_torchvision, "encoder.layers.encoder_layer_2.ln_1"),
    "vit, mean of the patches": (vit(global_pool="avg"), "blocks"),
    "of the tests' own": (pooled, "relu2"),
    # Its ReLU runs at two sizes, and is the last layer of neither alone.
    "one ReLU for three calls": (Odd, "conv3"),
}


def gradient_at(net, x, layer):
    """By hooks of the test's own: of a random mixture of the outputs, at the layer's last call."""
    kept = []

    def hook(module, args, output):
        kept.append(output.detach().clone().requires_grad_())
        return kept[-1].clone()

    handle = net.get_submodule(layer).register_forward_hook(hook)
    output = net(x)
    handle.remove()
    output = output["logits"] if isinstance(output, dict) else output
    (gradient,) = torch.autograd.grad((output * torch.randn(output.shape)).sum(), kept[-1])
    return gradient


@pytest.mark.parametrize("name", NETWORKS)
def test_the_layer_of_a_known_network(name):
    torch.manual_seed(0)
    make, expected = NETWORKS[name]
    net, x = make().eval(), images(1, SIDE, SIDE)
    assert choose_layer(net, x) == expected
    gradient = gradient_at(net, x, expected)
    # Of tokens, those of the patches.
    assert bool((gradient[:, 1:] if gradient.dim() == 3 else gradient).any())


def test_behind_the_last_attention_a_class_token_hears_nothing_of_the_patches():
    torch.manual_seed(0)
    net, x = vit()().eval(), images(1, SIDE, SIDE)
    for layer in ("blocks.2", "blocks.2.mlp", "norm"):
        gradient = gradient_at(net, x, layer)
        assert bool(gradient[:, 0].any())
        assert not bool(gradient[:, 1:].any())


class Segmenter(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.act = nn.ReLU()
        self.classes = nn.Conv2d(8, 4, 1)

    def forward(self, x):
        maps = self.classes(self.act(self.body(x)))
        return {"out": nn.functional.interpolate(maps, x.shape[-2:], mode="bilinear")}


def test_the_maps_of_class_scores_are_passed_over():
    assert choose_layer(Segmenter().eval(), images(1, 16, 16)) == "act"


def test_maps_of_one_cell_are_passed_over():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 6, 1), nn.Flatten())
    assert choose_layer(net.eval(), images(1, 12, 12)) == "1"


def test_it_is_found_once_and_again_when_the_network_has_changed():
    net, x = pooled().eval(), images(2, 12, 10)
    runs = []
    net.register_forward_hook(lambda *_: runs.append(1))
    assert choose_layer(net, x) == "relu2"
    found = len(runs)
    assert choose_layer(net, x * 2) == "relu2"
    assert len(runs) == found
    net.relu2 = nn.Identity()
    assert choose_layer(net, x) == "bn"
    assert len(runs) > found


def test_what_a_head_of_zeros_hides_is_not_remembered():
    net, x = vit()().eval(), images(1, SIDE, SIDE)
    weight = net.head.weight.detach().clone()
    nn.init.zeros_(net.head.weight)
    assert choose_layer(net, x) == "norm"
    with torch.no_grad():
        net.head.weight.copy_(weight)
    assert choose_layer(net, x) == "blocks.2.norm1"


class Pyramid(nn.Module):
    """As a detection network: each class looks into one level of a pyramid, which is built from the smallest up."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1)
        self.low, self.high = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)

    def forward(self, x):
        large = self.one(x).relu()
        low = self.low(self.two(large).relu()).relu()
        high = self.high(large).relu()
        return torch.stack([high.mean((1, 2, 3)), low.mean((1, 2, 3))], 1)


def test_an_all_zero_map_tries_the_next_stage_back_and_says_so():
    torch.manual_seed(0)
    net, x = Pyramid().eval(), images(2, 16, 12)
    assert choose_layer(net, x) == "high"
    ahead = class_activation_map(net, x, "hirescam", 0)
    assert ahead.layer == ("high",)
    assert "all_zero_at" not in ahead.details
    back = class_activation_map(net, x, "hirescam", 1)
    assert back.layer == ("low",)
    assert back.details["all_zero_at"] == ["high"]
    assert bool(back.raw.any())
    assert torch.equal(back.raw, class_activation_map(net, x, "hirescam", 1, "low").raw)
    assert "all zero at high" in back._band(0).lines
    # A layer that was asked for is the one that is looked at.
    assert not bool(class_activation_map(net, x, "hirescam", 1, "high").raw.any())


class Apart(Pyramid):
    """Puts the classes out one by one, as boxes are: from one of them nothing leads back to the other's level."""

    def forward(self, x):
        large = self.one(x).relu()
        low = self.low(self.two(large).relu()).relu()
        return {"low": low.mean((1, 2, 3)), "high": self.high(large).relu().mean((1, 2, 3))}


def test_a_score_that_does_not_depend_on_the_last_stage_tries_the_next_back():
    torch.manual_seed(0)
    net, x = Apart().eval(), images(2, 16, 12)

    def low(output):
        return output["low"]

    assert choose_layer(net, x) == "high"
    back = class_activation_map(net, x, "hirescam", low)
    assert (back.layer, back.details["all_zero_at"]) == (("low",), ["high"])
    assert torch.equal(back.raw, class_activation_map(net, x, "hirescam", low, "low").raw)
    with pytest.raises(
        LayerError, match=r"^the score does not depend on layer 'high'; choose one that it is made from$"
    ):
        class_activation_map(net, x, "hirescam", low, "high")


def test_a_score_that_depends_on_no_stage_says_so():
    def alone(output):
        return torch.ones(2)

    with pytest.raises(LayerError, match=r"^the score does not depend on layer 'high'"):
        class_activation_map(Apart().eval(), images(2, 16, 12), "hirescam", alone)


def test_where_all_maps_are_zero_it_is_the_last_stage():
    net, x = Pyramid().eval(), images(1, 16, 12)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(-1)
    heat = class_activation_map(net, x.abs(), "hirescam", 1)
    assert not bool(heat.raw.any())
    assert "all_zero_at" not in heat.details


def test_a_network_whose_strides_differ_by_axis_has_a_default_layer():
    net = nn.Sequential(
        *(nn.Conv2d(1, 6, 3, (1, 3), 1), nn.ReLU(), nn.Conv2d(6, 8, 3, (1, 2), 1), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)),
    )
    found = class_activation_map(net, torch.randn(1, 1, 24, 24), "hirescam")
    assert found.layer == ("3",)
    assert found.raw.shape == (1, 24, 4)


def test_stages_are_the_last_layers_at_each_resolution():
    torch.manual_seed(0)
    net, x = resnet().eval(), images(1, SIDE, SIDE)
    assert stages(net, x) == ["relu", "layer1", "layer2", "layer3", "layer4"]
    heatmap = class_activation_map(net, x, "hirescam", 1, "stages")
    assert heatmap.layer == ("relu", "layer1", "layer2", "layer3", "layer4")
    assert heatmap.raw.shape[1:] == (32, 32)


def test_a_network_without_maps():
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    with pytest.raises(LayerError, match="no layer"):
        class_activation_map(net, images(1, 8, 8))
