"""Each method is what its paper says, and the identities between them hold."""

from __future__ import annotations

import copy
from math import prod

import pytest
import torch
from cam_nets import Pooled, images, pooled, rectified, shaken, smooth, split
from cam_oracles import ORACLES, Case, stream
from timm.layers import BatchNormAct2d
from torch import nn
from torch.nn import functional as F

import viztool
from viztool.cam import METHODS, class_activation_map
from viztool.cam.evidence import Evidence


@pytest.fixture
def known_streams(monkeypatch):
    monkeypatch.setattr(Evidence, "generator", lambda self, *keys: stream(*keys))


def close(found, expected, tolerance=1e-5):
    limit = float(expected.abs().max())
    torch.testing.assert_close(found.double(), expected.double(), rtol=0, atol=tolerance * max(limit, 1e-30))


def test_every_method_of_a_layer_has_an_oracle():
    assert set(ORACLES) == set(METHODS) - {"fullgrad"}


@pytest.mark.parametrize("net", [smooth, rectified])
@pytest.mark.parametrize("method", sorted(set(ORACLES) - {"cam"}))
def test_a_method_is_its_equation(method, net, known_streams):
    net = net().eval()
    x, targets = images(2, 9, 7), [2, 5]
    found = class_activation_map(net, x, method, targets, "front").raw
    exact = copy.deepcopy(net).double()
    for index, target in enumerate(targets):
        expected = ORACLES[method](Case(exact, x[index : index + 1].double(), target)).detach()
        assert bool(expected.any()) or method == "fem"
        # The kernel's components are of a matrix made in single precision.
        close(found[index], expected, 1e-4 if "eigen" in method or method == "kpcacam" else 2e-5)


def pooling(channels, classes, last=nn.ReLU):
    """Pooling and a linear layer behind the layer "front"."""
    return split(
        nn.Sequential(nn.Conv2d(3, channels, 3, stride=2, padding=1), last()),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)),
    ).eval()


@pytest.mark.parametrize("last", [nn.ReLU, nn.Tanh])
def test_cam_is_its_equation(last):
    net = pooling(4, 7, last)
    x, targets = images(2, 9, 7), [2, 5]
    found = class_activation_map(net, x, "cam", targets, "front")
    for index, target in enumerate(targets):
        expected = ORACLES["cam"](Case(copy.deepcopy(net).double(), x[index : index + 1].double(), target))
        close(found.raw[index], expected)
    # Eq. 1: the mean of the map, with the bias, is the score.
    close(found.raw.mean((1, 2)) + net.tail[-1].bias.detach()[targets], found.score)


class TestBehindGlobalAveragePooling:
    """With pooling and a linear layer behind them, the methods are one another's multiples."""

    @pytest.fixture
    def net(self):
        return pooling(6, 5)

    @pytest.fixture
    def maps(self, net):
        x = images(3, 12, 10)
        return lambda method, target=None: class_activation_map(net, x, method, target, "front")

    def test_grad_cam_times_the_positions_is_cam(self, maps):
        cam = maps("cam").raw
        assert bool((cam < 0).any())
        close(maps("gradcam").raw * prod(cam.shape[1:]), cam.relu())

    def test_hi_res_cam_is_grad_cam_before_its_relu(self, maps):
        close(maps("hirescam").raw.relu(), maps("gradcam").raw)
        close(maps("hirescam").raw * prod(maps("cam").raw.shape[1:]), maps("cam").raw)

    def test_x_grad_cam_is_grad_cam(self, maps):
        close(maps("xgradcam").raw, maps("gradcam").raw)

    def test_shapley_cam_is_grad_cam_where_the_tail_is_linear(self, maps):
        close(maps("shapleycam").raw, maps("gradcam").raw)

    def test_layer_cam_is_the_positive_weights_times_the_activations(self, net, maps):
        found = maps("layercam", 3).raw
        a = net.front(images(3, 12, 10)).detach()
        weights = net.tail[-1].weight[3].detach().relu() / prod(a.shape[2:])
        close(found, torch.einsum("k,nkhw->nhw", weights, a))

    @pytest.mark.parametrize("target", range(5))
    def test_an_ablation_weight_is_w_times_the_mean_over_the_score(self, net, maps, target):
        found = maps("ablationcam", target)
        a = net.front(images(3, 12, 10)).detach()
        with torch.no_grad():
            y = net(images(3, 12, 10))[:, target]
        close(found.score, y)
        weights = net.tail[-1].weight[target].detach() * a.mean((2, 3)) / y.abs()[:, None]
        close(found.raw, torch.einsum("nk,nkhw->nhw", weights, a).relu())

    def test_finer_cam_is_grad_cam_of_the_difference(self, net, maps):
        def contrast(output):
            order = output.sort(1, descending=True).values
            return order[:, 0] - 0.6 * order[:, 1:4].mean(1)

        close(maps("finercam").raw, maps("gradcam", contrast).raw)


class TestFullGrad:
    def test_it_is_its_equation(self):
        """Every bias as a map of its own, one number for each place, and the derivative by that."""
        net = shaken(Pooled()).eval()
        x = images(2, 9, 7)
        found = class_activation_map(net, x, "fullgrad", [1, 4])
        exact = copy.deepcopy(net).double()
        for index, target in enumerate([1, 4]):
            one = x[index : index + 1].double().requires_grad_()
            sizes = [(1, 6, 9, 7), (1, 8, 5, 4), (1, 8, 5, 4)]
            norm = exact.bn
            scale = norm.weight / (norm.running_var + norm.eps).sqrt()
            values = [exact.conv1.bias, exact.conv2.bias, norm.bias - scale * norm.running_mean]
            biases = [
                value.detach().view(1, -1, 1, 1).expand(size).clone().requires_grad_()
                for value, size in zip(values, sizes, strict=True)
            ]
            z = (F.conv2d(one, exact.conv1.weight, padding=1) + biases[0]).relu()
            z = F.conv2d(z, exact.conv2.weight, stride=2, padding=1) + biases[1]
            z = (z * scale.view(1, -1, 1, 1) + biases[2]).relu()
            last = exact.fc.bias.detach().clone().requires_grad_()
            score = (z.mean((2, 3)) @ exact.fc.weight.T + last)[0, target]
            gradients = torch.autograd.grad(score, [one, *biases, last])
            terms = [(g * b).detach() for g, b in zip(gradients, [one, *biases, last], strict=True)]
            close(torch.stack([term.sum() for term in terms]).sum(), score.detach())
            expected = torch.zeros(9, 7, dtype=torch.float64)
            for term in terms[:-1]:  # the last has no place
                size = term.abs() - term.abs().min()
                rescaled = size / size.max()
                expected += F.interpolate(rescaled, (9, 7), mode="bilinear")[0].sum(0)
            close(found.raw[index], expected)

    @pytest.mark.parametrize(
        "act",
        [nn.ReLU, nn.ReLU6, nn.SiLU, nn.GELU, nn.Hardswish, nn.Sigmoid, nn.Tanh, nn.ELU, lambda: nn.LeakyReLU(0.2)],
    )
    def test_its_terms_add_up_to_the_score(self, act):
        """With the biases that batch norms, activation functions and normalisations imply."""
        net = shaken(
            nn.Sequential(
                nn.Conv2d(3, 8, 3, padding=1),
                nn.BatchNorm2d(8),
                act(),
                nn.Conv2d(8, 8, 3, stride=2, groups=2, bias=False),
                nn.GroupNorm(2, 8),
                act(),
                nn.MaxPool2d(2),
                nn.ConvTranspose2d(8, 6, 2),
                nn.BatchNorm2d(6, affine=False),
                act(),
                nn.Flatten(),
                nn.Linear(6 * 3 * 3, 12),
                nn.BatchNorm1d(12),
                act(),
                nn.LayerNorm(12),
                nn.Linear(12, 4),
            )
        ).eval()
        found = class_activation_map(net, images(3, 10, 10) * 3, "fullgrad", 2)
        complete = found.details["completeness"]
        limit = float(found.score.abs().max())
        assert max(abs(error) for error in complete["error"]) < 2e-5 * max(limit, 1)
        close(torch.tensor(complete["whole"]), found.score)

    def test_its_terms_add_up_where_a_norm_holds_its_activation_function(self):
        net = nn.Sequential(
            nn.Conv2d(3, 8, 3),
            BatchNormAct2d(8, act_layer=nn.ReLU6, inplace=True),
            nn.Conv2d(8, 4, 3),
            BatchNormAct2d(4, act_layer=nn.ReLU, inplace=True),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        found = class_activation_map(shaken(net).eval(), images(2, 9, 9) * 3, "fullgrad", 1)
        assert max(abs(error) for error in found.details["completeness"]["error"]) < 1e-5

    def test_what_does_not_add_up_is_told(self):
        class Gate(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv = nn.Conv2d(3, 4, 3)

            def forward(self, x):
                x = self.conv(x)
                return (x * x).mean((2, 3))

        found = class_activation_map(Gate().eval(), images(1, 8, 8), "fullgrad", 1)
        assert abs(found.details["completeness"]["error"][0]) > 0.1 * abs(float(found.score[0]))

    def test_a_layer_that_runs_twice_counts_twice(self):
        class Twice(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv = nn.Conv2d(3, 3, 3, padding=1)
                self.relu = nn.ReLU(inplace=True)

            def forward(self, x):
                return self.relu(self.conv(self.relu(self.conv(x)))).mean((2, 3))

        found = class_activation_map(Twice().eval(), images(2, 8, 8), "fullgrad", 1)
        assert max(abs(error) for error in found.details["completeness"]["error"]) < 1e-6


def test_the_score_is_the_logit():
    net, x = pooled().eval(), images(3, 10, 10)
    with torch.no_grad():
        logits = net(x)
    for method in ("gradcam", "scorecam", "ablationcam", "eigencam", "fullgrad", "finercam"):
        found = class_activation_map(net, x, method, [0, 1, 4], None if method == "fullgrad" else "relu2")
        torch.testing.assert_close(found.score, logits[[0, 1, 2], [0, 1, 4]])


@pytest.mark.parametrize("method", ["scorecam", "iscam"])
def test_channels_that_hide_everything_are_shown_once(method):
    """Half of the channels are dead: the map is as if each had a forward of its own, and they share one."""
    net = nn.Sequential(nn.Conv2d(3, 12, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 4)).eval()
    with torch.no_grad():
        net[0].bias[::2] = -100.0
    x, shown = images(2, 10, 10), []
    forward = net.forward

    def counted(given):
        shown.append(len(given))
        return forward(given)

    net.forward = counted
    found = class_activation_map(net, x, method, 1, "1")
    steps = 1 if method == "scorecam" else 10
    assert sum(shown) <= 2 * (7 * steps + 3), (
        "6 that live, and one for all that do not; and the few that settle the run"
    )
    maps = net[:2](x).detach()
    large = F.interpolate(maps, (10, 10), mode="bilinear")
    low, high = large.amin((2, 3), keepdim=True), large.amax((2, 3), keepdim=True)
    masks = torch.where(high > low, (large - low) / (high - low), 0)
    scores = torch.zeros(2, 12)
    with torch.no_grad():
        for channel in range(12):
            for step in range(1, steps + 1):
                scores[:, channel] += forward(x * masks[:, channel : channel + 1] * step / steps)[:, 1] / steps
    expected = (scores.softmax(1)[:, :, None, None] * maps).sum(1).relu()
    close(found.raw, expected)


def test_ablation_of_a_network_that_goes_through_its_images_one_by_one() -> None:
    class OneByOne(nn.Module):
        def __init__(self, net: nn.Module) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.stack([self.net(image[None])[0] for image in x])

    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 4)).eval()
    x = torch.randn(1, 3, 12, 12)
    found = viztool.class_activation_map(OneByOne(net), x, method="ablationcam", target=1, layer="net.0")
    wanted = viztool.class_activation_map(net, x, method="ablationcam", target=1, layer="0")
    assert torch.allclose(found.raw, wanted.raw, atol=1e-6)
    assert float(wanted.raw.max()) > 0
