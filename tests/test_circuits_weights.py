"""Weight pictures: the kernel as it is, the product of what is linear, and their factors."""

import re

import numpy as np
import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F

import viztool
from viztool.errors import LayerError
from viztool.inspect.nearest import nearest
from viztool.inspect.survey import survey, survey_of
from viztool.kernels.expanded import expanded_of, expanded_weights, linear_parts
from viztool.kernels.factors import factors
from viztool.kernels.weights import KernelWeights


def kernels(net, x, source, target, channels):
    known = survey(net, x)
    return torch.from_numpy(expanded_weights(net, x, known.site(source), known.site(target), channels))


def test_of_layers_next_to_each_other_it_is_the_kernel_as_it_is():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 5, (3, 5), dilation=1)).eval()
    found = kernels(net, torch.randn(1, 3, 20, 20), "0", "2", [0, 3])
    assert torch.equal(found, net[2].weight.detach()[[0, 3]])


def test_a_norm_scales_it():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3, bias=False), nn.BatchNorm2d(5), nn.ReLU6()).eval()
    net[2].running_var.uniform_(0.5, 2)
    net[2].weight.data.uniform_(-1, 1)
    scale = (net[2].weight / (net[2].running_var + net[2].eps).sqrt()).detach()
    found = kernels(net, torch.randn(1, 3, 20, 20), "0", "3", range(5))
    assert torch.allclose(found, net[1].weight.detach() * scale[:, None, None, None], atol=1e-6)


def test_of_a_separable_block_it_is_the_product_of_its_linear_parts():
    net = nn.Sequential(
        nn.Conv2d(3, 4, 1),
        nn.Conv2d(4, 6, 1),
        nn.ReLU6(inplace=True),
        nn.Conv2d(6, 6, 3, padding=1, groups=6),
        nn.SiLU(),
        nn.Conv2d(6, 5, 1),
    ).eval()
    product = torch.einsum(
        "oe,ehw,ei->oihw", net[5].weight[..., 0, 0], net[3].weight[:, 0], net[1].weight[..., 0, 0]
    ).detach()
    assert torch.allclose(kernels(net, torch.randn(1, 3, 9, 9), "0", "5", range(5)), product, atol=1e-6)


def test_a_max_pool_counts_as_a_mean_pool():
    net = nn.Sequential(nn.Conv2d(3, 2, 1), nn.MaxPool2d(2), nn.Conv2d(2, 3, 1)).eval()
    found = kernels(net, torch.randn(1, 3, 12, 12), "0", "2", range(3))
    assert torch.allclose(found, net[2].weight.detach().expand(-1, -1, 2, 2) / 4, atol=1e-7)


def test_a_residual_sum_adds_the_identity():
    net = timm.create_model("resnet18", pretrained=False, zero_init_last=False).eval()
    known = survey(net, torch.randn(1, 3, 96, 96))
    assert nearest(net, torch.randn(1, 3, 96, 96), known, "layer1.1").name == "layer1.0"
    found = kernels(net, torch.randn(1, 3, 96, 96), "layer1.0", "layer1.1", [5])[0]
    one, two = (getattr(net.layer1[1], name).weight.detach() for name in ("conv1", "conv2"))
    norms = 1 / (1 + 1e-5)  # of both, as they begin
    flow = torch.zeros(1, 64, 5, 5)
    for i in range(3):
        for j in range(3):
            flow[0, :, i : i + 3, j : j + 3] += torch.einsum("m,mihw->ihw", two[5, :, i, j], one) * norms
    flow[0, 5, 2, 2] += 1
    assert torch.allclose(found, flow[0], atol=1e-5)


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def between(middle, width=6):
    """A network whose layers "0" and "1" have something between two convolutions."""
    torch.manual_seed(1)
    block = nn.Sequential(nn.Conv2d(6, 6, 3), middle, nn.Conv2d(width, 4, 1))
    return nn.Sequential(nn.Conv2d(3, 6, 3), block, nn.ReLU()).eval()


def parts(net, seed=None):
    """Of the survey's picture, which is black, or of a random one."""
    model = viztool.wrap_model(net, size=(20, 20), mean=(0,) * 3, std=(1,) * 3)
    known, x = survey_of(model)
    if seed is not None:
        x = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
    return linear_parts(net, x, known.site("0"), known.site("1"), [1])


LEFT_OUT = {
    "softplus": F.softplus,
    "softsign": F.softsign,
    "tanhshrink": F.tanhshrink,
    "hardshrink": F.hardshrink,
    "softshrink": F.softshrink,
    "rrelu": F.rrelu,
    "relu": torch.relu,
    "sigmoid as a constant": lambda x: x * torch.sigmoid(x),
}
REFUSED = {
    "mul": lambda x: x * x,
    "abs": torch.abs,
    "sin": torch.sin,
    "zero": lambda x: torch.maximum(x, torch.zeros_like(x)),
    "where": lambda x: torch.where(x > 0, x, 0 * x),
    "mask": lambda x: x * (x > 0),
    "log_sigmoid": F.logsigmoid,
    "glu": lambda x: F.glu(x, 1),
    "normalize": lambda x: F.normalize(x, dim=1),
    "local_response_norm": lambda x: F.local_response_norm(x, 3),
    "log_softmax": lambda x: F.log_softmax(x, 1),
    "einsum": lambda x: torch.einsum("nchw,ndhw->nchw", x, x),
    "amax": lambda x: x - x.amax((2, 3), keepdim=True),
    "group_norm": nn.GroupNorm(2, 6),
    "instance_norm": nn.InstanceNorm2d(6),
    "layer_norm": nn.LayerNorm([6, 16, 16]),
    "batch_norm": nn.BatchNorm2d(6, track_running_stats=False),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_is_left_out_is_named_and_the_rest_does_not_depend_on_the_picture(name):
    net = between(Function(LEFT_OUT[name]))
    found = parts(net)
    assert found.left_out == (name,)
    flow = torch.einsum("e,eihw->ihw", net[1][2].weight[1, :, 0, 0], net[1][0].weight)
    if "constant" not in name:
        assert np.allclose(found.values[0], flow.detach(), atol=1e-6)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_linear_and_cannot_be_left_out_gives_no_kernels(name):
    middle = REFUSED[name]
    net = between(middle if isinstance(middle, nn.Module) else Function(middle), 3 if name == "glu" else 6)
    named = {"mask": "gt", "where": "gt", "zero": "maximum"}.get(name, name)
    message = (
        f"between layers '0' and '1' more is not linear than activations that can be left out ({named}): "
        "weights alone give no kernels; measure with photos"
    )
    with pytest.raises(LayerError, match=f"^{re.escape(message)}$"):
        parts(net)
    model = viztool.wrap_model(net, size=(20, 20), mean=(0,) * 3, std=(1,) * 3)
    assert expanded_of(model, "1", [1]) is None, "a kernel sheet leaves the tile out"


def test_what_is_scaled_by_another_branch_gives_no_kernels():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)

        def forward(self, x):
            return self.two(x) * self.one(x)

    net = nn.Sequential(Gated(), nn.Conv2d(4, 2, 1)).eval()
    known = survey(net, torch.zeros(1, 3, 16, 16))
    with pytest.raises(LayerError, match="more is not linear"):
        linear_parts(net, torch.zeros(1, 3, 16, 16), known.site("0.one"), known.site("1"), [0])


@pytest.mark.parametrize(
    "middle",
    [nn.Identity(), nn.BatchNorm2d(6), nn.AvgPool2d(2), nn.Dropout(), Function(lambda x: 3 * x - x.mean((2, 3), True))],
)
def test_what_is_linear_is_called_so_whatever_the_picture(middle):
    net = between(middle)
    black, noise = parts(net), parts(net, seed=5)
    assert black.left_out == noise.left_out == ()
    assert np.array_equal(black.values, noise.values)


def test_the_layer_before_is_one_that_leads_there():
    net = timm.create_model("resnet18", pretrained=False).eval()
    x = torch.zeros(1, 3, 64, 64)
    known = survey(net, x)
    assert known.earlier("layer2.0.downsample.0")[0].name == "layer2.0.bn2", "the last in time, in the other branch"
    assert nearest(net, x, known, "layer2.0.downsample.0").name == "layer1"
    assert nearest(net, x, known, "layer2.0.conv2").name == "layer2.0.aa"


def test_planted_factors_come_out():
    rng = np.random.default_rng(0)
    patterns = np.zeros((2, 5, 5), np.float32)
    patterns[0, 0], patterns[1, :, 4] = 1, 1
    amounts = np.zeros((9, 2), np.float32)
    amounts[:4, 0], amounts[4:, 1] = rng.uniform(1, 2, 4), -rng.uniform(0.5, 1, 5)
    found = factors(np.einsum("ck,khw->chw", amounts, patterns), 2)
    assert found.explained == pytest.approx(1, abs=1e-4)
    shapes = patterns / np.linalg.norm(patterns, axis=(1, 2), keepdims=True)
    assert np.allclose(found.patterns, shapes, atol=1e-2)
    length = np.sqrt(5)
    assert np.allclose(found.drives[0], np.maximum(amounts[:, 0], 0) * length, atol=0.05)
    assert np.allclose(found.holds_back[1], np.maximum(-amounts[:, 1], 0) * length, atol=0.05)
    assert np.abs(found.holds_back[0]).max() < 0.05


def test_a_kernel_sheet_draws_kernels_and_no_square_of_numbers():
    model = viztool.load_model(weights=None)
    expanded = expanded_of(model, "blocks.2", [3, 4])
    assert [one.source for one in expanded] == ["blocks.1", "blocks.1"]
    assert expanded[0].values.shape[0] == 24
    assert min(expanded[0].values.shape[1:]) > 1
    strongest = expanded[0].strongest(3)
    lengths = np.linalg.norm(expanded[0].values.reshape(24, -1), axis=1)
    assert strongest == np.argsort(-lengths, kind="stable")[:3].tolist()
    sheet = viztool.visualize_kernels(model, "blocks.2", [3], steps=1, size=64, negative=False)
    weights = sheet.kernels[0].weights
    assert isinstance(weights, KernelWeights)
    assert np.array_equal(weights.expanded.values, expanded[0].values)
    numbers = sheet.numbers["kernels"][0]["weights"]["expanded"]
    assert numbers == {"from": "blocks.1", "strongest": expanded[0].strongest(9)}
