"""The gradient of one image through a norm that tokens are made from: torch itself has it wrong on a CPU."""

import pytest
import torch
from torch import nn

import viztool
from viztool.hooks.tail import TailPass
from viztool.kernels import maximize, objectives
from viztool.kernels.network import Stopped
from viztool.kernels.parameterizations import Pixels
from viztool.kernels.transforms import Transforms
from viztool.models import wrap_model
from viztool.tensors.graph import mend_norms


class Tokens(nn.Module):
    """Maps, a norm, and tokens whose gradient comes back with channels last in memory."""

    def __init__(self, norm):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = norm
        self.act = nn.ReLU()
        self.heads = nn.Parameter(torch.randn(4, 1, 35, 6))
        for each in norm.parameters():
            nn.init.uniform_(each, 0.5, 1.5)

    def forward(self, x):
        return self.rest(self.stem(x))

    def rest(self, maps):
        tokens = self.norm(self.act(maps)).flatten(2).transpose(1, 2)
        return torch.stack([(tokens * head).sum((1, 2)) for head in self.heads], 1)


def kept_statistics():
    norm = nn.BatchNorm2d(6)
    nn.init.uniform_(norm.running_mean, -0.5, 0.5)
    nn.init.uniform_(norm.running_var, 0.5, 1.5)
    return norm


NORMS = {
    "batch": kept_statistics,
    "batch, of its own": lambda: nn.BatchNorm2d(6, track_running_stats=False),
    "instance": lambda: nn.InstanceNorm2d(6, affine=True),
}


@pytest.fixture(params=NORMS)
def net(request):
    return Tokens(NORMS[request.param]()).double().eval()


def differences(function, x, step=1e-6):
    """The gradient of a sum, one number of the input after another."""
    found = torch.zeros_like(x)
    with torch.no_grad():
        for index in range(x.numel()):
            moved = torch.zeros_like(x).view(-1)
            moved[index] = step
            moved = moved.view_as(x)
            found.view(-1)[index] = (function(x + moved) - function(x - moved)).sum() / (2 * step)
    return found


X = torch.randn(1, 3, 5, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_torch_is_mended(net):
    leaf = X.clone().requires_grad_()
    score = net(leaf)[:, 1]
    mend_norms(score)
    (found,) = torch.autograd.grad(score, leaf)
    torch.testing.assert_close(found, differences(lambda x: net(x)[:, 1], X), rtol=1e-5, atol=1e-7)


def test_gradient_and_its_sum_over_channels(net):
    wanted = differences(lambda x: net(x)[:, 1], X).sum(1)
    found = viztool.attribute(net, X, "gradient", 1).raw
    torch.testing.assert_close(found, wanted.float(), rtol=1e-4, atol=1e-6)


def test_at_a_layer(net):
    run = TailPass(net, X, "stem")
    with torch.enable_grad():
        found = run.gradients(run.output[:, 1])["stem"]

    wanted = differences(lambda maps: net.rest(maps)[:, 1], net.stem(X).detach())
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-7)


def test_fullgrad_of_one_image_is_complete():
    net = Tokens(kept_statistics()).double().eval()
    told = viztool.class_activation_map(net, X, "fullgrad", 1).details["completeness"]
    assert told["error"][0] < 1e-5


def test_deconvnet_and_guided_of_one_image_are_those_of_a_batch(net):
    for method in ("guided_backprop", "deconvnet", "gradient_x_input"):
        one = viztool.attribute(net, X, method, 1).raw
        two = viztool.attribute(net, torch.cat([X, X]), method, 1).raw
        torch.testing.assert_close(one[0], two[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("fold", [True, False])
def test_pictures_of_one_unit(fold):
    """Behind a folded norm a convolution in channels_last hands its strides to the next norm."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.InstanceNorm2d(6, affine=True), nn.Conv2d(6, 8, 3), nn.BatchNorm2d(8), nn.ReLU()
    ).eval()
    model = wrap_model(net, size=(12, 14), mean=0.0, std=1.0)
    network = Stopped(model, ["4"], (12, 14), fold=fold)
    picture = torch.rand(1, 3, 12, 14, generator=torch.Generator().manual_seed(2))
    places = torch.linspace(-1, 1, 14)

    def score(pictures):
        return (network(pictures)["4"][:, 3] * places[: network(pictures)["4"].shape[-1]]).sum((1, 2))

    leaf = picture.clone().requires_grad_()
    with torch.enable_grad():
        own = score(leaf)
        mend_norms(own)
        (found,) = torch.autograd.grad(own.sum(), leaf)
        two = torch.cat([picture, picture]).requires_grad_()
        (wanted,) = torch.autograd.grad((network(two)["4"][:, 3] * places[:10]).sum(), two)
    torch.testing.assert_close(found[0], wanted[0], rtol=1e-3, atol=1e-5)


def test_a_step_of_ascent():
    """The first step of Adam goes by the sign of the gradient."""
    net = Tokens(NORMS["instance"]()).eval()
    start = torch.rand(1, 3, 5, 7, generator=torch.Generator().manual_seed(3)) * 0.6 + 0.2
    model = wrap_model(net, size=(5, 7), mean=0.0, std=1.0)
    plain = {"redirect": 0, "parameterization": Pixels(), "transforms": Transforms()}
    found = maximize(model, objectives.logit(1), steps=1, start=start, **plain).images
    exact = Tokens(NORMS["instance"]()).double().eval()
    exact.load_state_dict(net.state_dict())
    wanted = differences(lambda x: exact(x)[:, 1], start.double())
    clear = wanted.abs() > 0.01 * wanted.abs().max()
    assert torch.equal((found - start).sign()[clear], wanted.sign().float()[clear])
