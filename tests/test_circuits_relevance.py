"""Relevance through single units: it adds up, it is what zennit finds, and several at once are each by itself."""

import copy

import pytest
import timm
import torch
from attribution_nets import Gated, Residual
from torch import nn

from viztool.attribution import attribute
from viztool.errors import LayerError, SettingError, ViztoolError

METHODS = ["lrp_epsilon", "lrp_zplus"]


def chain(bias: bool = False) -> nn.Sequential:
    """All relevance comes through each of its layers."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, bias=bias),
        nn.ReLU(inplace=True),
        nn.Conv2d(6, 8, 3, stride=2, bias=bias),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(8 * 4, 5, bias=bias),
    ).eval()


def x(count: int = 1, size: int = 10) -> torch.Tensor:
    return torch.randn(count, 3, size, size)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("layer", ["0", "1", "2", "3", "4"])
def test_the_maps_of_all_channels_add_up_to_the_whole(method, layer):
    net, given = chain(), x()
    whole = attribute(net, given, method, 1).raw[0]
    channels = range(6 if layer in "01" else 8)
    parts = attribute(net, given, method, 1, through=(layer, channels))
    assert len(parts) == len(channels)
    assert torch.allclose(parts.raw.sum(0), whole, atol=1e-4 * float(whole.abs().max()))
    sums = parts.details["conservation"]
    assert sum(sums["whole"]) == pytest.approx(sum(sums["sum"]), abs=1e-4 * float(whole.abs().sum()))
    assert all(
        error <= 1e-4 * max(map(abs, sums["whole"])) for error in sums["error"]
    )  # what arrives at a unit arrives at the input
    for at, channel in enumerate(channels):
        alone = attribute(net, given, method, 1, through=(layer, channel))
        assert torch.allclose(alone.raw[0], parts.raw[at], atol=1e-6 * float(whole.abs().max()))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["resnet18", "tf_efficientnet_lite0"])
def test_they_add_up_in_networks_with_norms_and_skips(method, name):
    torch.manual_seed(2)
    net = timm.create_model(name, pretrained=False, num_classes=7).eval()
    given = x(1, 64)
    layer, count = {"resnet18": ("layer2", 128), "tf_efficientnet_lite0": ("blocks.3", 80)}[name]
    whole = attribute(net, given, method, 1).raw[0]
    parts = attribute(net, given, method, 1, through=(layer, range(count)))
    assert torch.allclose(parts.raw.sum(0), whole, atol=1e-4 * float(whole.abs().max()))


def test_of_a_linear_network_it_is_the_product_along_the_unit():
    net = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.Flatten(), nn.Linear(4 * 100, 3, bias=False)).eval()
    given = x(2)
    found = attribute(net, given, "lrp_epsilon", 2, through=("0", 3), epsilon=0.0)
    weight = net[0].weight[3, :, 0, 0].detach()
    head = net[2].weight[2].detach().view(4, 10, 10)[3]
    expected = (given * weight[:, None, None]).sum(1) * head
    assert torch.allclose(found.raw, expected, atol=1e-5 * float(expected.abs().max()))
    assert found.details["title"] == "LRP-ε through 0/3"
    assert found.numbers["details"]["through"] == {"layer": "0", "channels": [3]}


class OneBranch(Residual):
    """The same sum, but nothing flows back around the branch."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(self.stem(x))
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += x.detach()
        return self.fc(self.relu(out).mean((2, 3)))


def test_what_goes_around_the_layer_is_not_in_it():
    net, alone = Residual().eval(), OneBranch().eval()
    alone.load_state_dict(net.state_dict())
    given = x(1, 12)
    whole = attribute(net, given, "lrp_epsilon", 1).raw[0]
    branch = attribute(alone, given, "lrp_epsilon", 1).raw[0]
    size = float(whole.abs().max())
    assert float((branch - whole).abs().max()) > 1e-3 * size
    for layer in ("bn1", "bn2"):
        parts = attribute(net, given, "lrp_epsilon", 1, through=(layer, range(6))).raw.sum(0)
        assert torch.allclose(parts, branch, atol=1e-4 * size)
    parts = attribute(net, given, "lrp_epsilon", 1, through=("pool", range(6))).raw.sum(0)
    assert torch.allclose(parts, whole, atol=1e-4 * size)


def test_gates_are_held_as_in_the_whole():
    net, given = Gated().eval(), x(1, 12)
    layer = next(name for name, module in net.named_modules() if isinstance(module, nn.Conv2d))
    count = net.get_submodule(layer).out_channels
    whole = attribute(net, given, "lrp_zplus", 1).raw[0]
    parts = attribute(net, given, "lrp_zplus", 1, through=(layer, range(count)))
    assert torch.allclose(parts.raw.sum(0), whole, atol=1e-4 * float(whole.abs().max()))


@pytest.mark.parametrize("method", METHODS)
def test_it_is_what_zennit_finds_where_the_rules_are_the_same(method):
    pytest.importorskip("zennit")
    from zennit.composites import LayerMapComposite
    from zennit.rules import Epsilon, Norm, Pass, ZPlus
    from zennit.types import Activation, AvgPool, Convolution, Linear

    net, given = chain(bias=method == "lrp_epsilon"), x(2).abs()
    rule = Epsilon(1e-6) if method == "lrp_epsilon" else ZPlus()
    kinds = [(Convolution, rule), (AvgPool, Norm()), (Activation, Pass()), (Linear, Epsilon(1e-6))]
    other = copy.deepcopy(net)
    other[1].inplace = False

    def cut(module, args, output):
        mask = torch.zeros_like(output)
        mask[:, 5] = 1
        output.register_hook(lambda gradient: gradient * mask)

    handle = other[3].register_forward_hook(cut)
    leaf = given.clone().requires_grad_()
    with LayerMapComposite(kinds).context(other) as modified:
        output = modified(leaf)
        start = torch.zeros_like(output)
        start[:, 1] = output[:, 1].detach()
        (relevance,) = torch.autograd.grad(output, leaf, start)
    handle.remove()
    found = attribute(net, given, method, 1, through=("3", 5)).raw
    expected = relevance.sum(1)
    assert float((found - expected).abs().max()) <= 1e-4 * float(expected.abs().max())


def test_the_network_is_left_as_it_was():
    net = chain().train()
    attribute(net, x(), "lrp_zplus", 1, through=("1", [0, 2]))
    assert net.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in net.parameters())
    assert not any(module._forward_hooks for module in net.modules())


@pytest.mark.parametrize(
    ("method", "through", "error", "message"),
    [
        (
            "gradient",
            ("1", 0),
            ViztoolError,
            "gradient cannot be sent through one unit; these can: lrp_epsilon, lrp_zplus",
        ),
        ("lrp_zplus", ("1", 6), LayerError, "layer '1' has 6 channels, 0 to 5, and no 6"),
        (
            "lrp_zplus",
            "1",
            SettingError,
            "through is '1'; give a layer and a channel of it, such as ('blocks.4', 15)",
        ),
        (
            "lrp_zplus",
            ("1", "a"),
            SettingError,
            "through is ('1', 'a'); give a layer and a channel of it, such as ('blocks.4', 15)",
        ),
        (
            "lrp_zplus",
            ("1", 1.5),
            SettingError,
            "through is ('1', 1.5); give a layer and a channel of it, such as ('blocks.4', 15)",
        ),
        (
            "lrp_zplus",
            ("1", []),
            SettingError,
            "through is ('1', []); give a layer and a channel of it, such as ('blocks.4', 15)",
        ),
        (
            "lrp_zplus",
            ("1", [0, 1]),
            ViztoolError,
            "several channels go with one image, not with 2; pass the images one by one",
        ),
    ],
)
def test_errors_say_what_is_wrong(method, through, error, message):
    with pytest.raises(error) as caught:
        attribute(chain(), x(2), method, 1, through=through)
    assert str(caught.value) == message


def test_a_layer_that_is_folded_into_the_next_says_so():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 64, 2)).eval()
    with pytest.raises(
        LayerError, match=r"^no relevance comes through '0' by itself: it is folded into the next layer"
    ):
        attribute(net, x(), "lrp_zplus", 1, through=("0", 0))
    attribute(net, x(), "lrp_zplus", 1, through=("1", 0))
