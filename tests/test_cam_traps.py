"""What other libraries get wrong, one test for each."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cam_nets import Odd, Pooled, images, pooled, rectified, shaken, split
from capture_oracle import equal_states, state_of
from torch import nn
from torch.nn import functional as F

import viztool
from viztool.cam import METHODS, class_activation_map
from viztool.errors import LayerError, ModelError, NoGradientError, TargetError


def grad_cam(activations, gradients):
    return (gradients.mean((2, 3), keepdim=True) * activations).sum(1).relu()


def test_activations_are_those_before_the_next_layer_worked_in_place():
    net, x = pooled().eval(), images(2, 10, 8)
    before = F.conv2d(x, net.conv1.weight, net.conv1.bias, padding=1).detach().requires_grad_()
    score = net.fc(net.relu2(net.bn(net.conv2(before.relu()))).mean((2, 3)))[:, 2].sum()
    (gradient,) = torch.autograd.grad(score, before)
    found = class_activation_map(net, x, "gradcam", 2, "conv1").raw
    assert float(before.detach().min()) < 0
    torch.testing.assert_close(found, grad_cam(before.detach(), gradient))


def negative(net, x):
    """A class of negative score for each image."""
    with torch.no_grad():
        return net(x).argmin(1).tolist()


def test_a_negative_score_does_not_turn_the_ablation_map_upside_down():
    net = split(
        nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)),
    ).eval()
    with torch.no_grad():
        net.tail[-1].weight[0] = torch.tensor([1.0, 1.0, -3.0, -3.0])
        net.tail[-1].bias.fill_(-5.0)
    x = images(2, 8, 8)
    found = class_activation_map(net, x, "ablationcam", 0)
    assert bool((found.score < 0).all())
    a = net.front(x).detach()
    weights = net.tail[-1].weight[0].detach() * a.mean((2, 3)) / 5.0
    # Where the first two channels are, the score is higher; where the others are, lower.
    expected = (weights[:, :, None, None] * a).sum(1).relu() * (5.0 / found.score.abs())[:, None, None]
    torch.testing.assert_close(found.raw, expected)
    assert bool((expected > 0).any())


def test_weights_of_an_ablation_are_the_papers_where_the_score_is_positive():
    net, x = rectified().eval(), images(1, 9, 7)
    with torch.no_grad():
        target = int(net(x).argmax())
        a = net.front(x)
        y = net.tail(a)[0, target]
        drops = []
        for channel in range(4):
            without = a.clone()
            without[:, channel] = 0
            drops.append((y - net.tail(without)[0, target]) / y)
    assert float(y) > 0
    found = class_activation_map(net, x, "ablationcam", target, "front").raw
    expected = (torch.stack(drops)[None, :, None, None] * a).sum(1).relu()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", ["gradcam", "scorecam", "ablationcam", "fullgrad", "eigencam"])
def test_too_few_targets_are_an_error(method):
    with pytest.raises(TargetError, match=r"^1 targets for 3 images; give one for all, or one for each$"):
        class_activation_map(pooled(), images(3, 10, 8), method, [2])


@pytest.mark.parametrize("method", METHODS)
def test_an_error_on_the_way_is_the_users_and_leaves_nothing(method):
    class Fails(Pooled):
        def forward(self, x):
            x = super().forward(x)
            if self.fails:
                raise IndexError("the user's own")
            return x

    net = shaken(Fails()).train()
    net.bn.eval()
    net.conv1.weight.grad = torch.ones_like(net.conv1.weight)
    net.fails = False
    class_activation_map(net, images(1, 10, 8), "random", 1)  # so that the layer is known
    net.fails = True
    before = state_of(net)
    with pytest.raises(IndexError, match=r"^the user's own$"):
        class_activation_map(net, images(1, 10, 8), method, 1)
    assert equal_states(before, state_of(net))
    assert torch.is_grad_enabled()


def test_of_a_relu_with_three_calls_activations_and_gradients_are_of_the_last():
    net, x = Odd().eval(), images(2, 10, 8)
    first = net.conv2(net.relu(net.conv1(x))).relu()
    last = net.conv3(first).relu().detach().requires_grad_()
    (gradient,) = torch.autograd.grad(net.fc(last.mean((2, 3)))[:, 4].sum(), last)
    for method, expected in (
        ("gradcam", grad_cam(last.detach(), gradient)),
        ("hirescam", (last.detach() * gradient).sum(1)),
        ("cam", torch.einsum("k,nkhw->nhw", net.fc.weight[4], last).detach()),
    ):
        torch.testing.assert_close(class_activation_map(net, x, method, 4, "relu").raw, expected)


def test_half_precision_is_that_of_the_network_alone():
    net, x = rectified().eval().bfloat16(), images(2, 9, 7).bfloat16()
    a = net.front(x).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(net.tail(a)[:, 3].sum(), a)
    found = class_activation_map(net, x, "gradcam", 3, "front")
    torch.testing.assert_close(found.raw, grad_cam(a.detach().float(), gradient.float()))
    assert found.score.dtype == torch.float32


def test_grad_cam_plus_plus_sums_activations_apart_from_gradients():
    """g³ · ΣA as in the paper's eq. 19, and not Σ(g³ · A)."""
    net, x = rectified().eval(), images(1, 9, 7)
    a = net.front(x).detach().requires_grad_()
    (g,) = torch.autograd.grad(net.tail(a)[:, 1].sum(), a)
    a = a.detach()

    def weighted(below):
        alpha = torch.where(g != 0, g**2 / below, 0)
        return ((alpha * g.relu()).sum((2, 3), keepdim=True) * a).sum(1).relu()

    found = class_activation_map(net, x, "gradcam++", 1, "front").raw
    torch.testing.assert_close(found, weighted(2 * g**2 + a.sum((2, 3), keepdim=True) * g**3))
    other = weighted(2 * g**2 + (a * g**3).sum((2, 3), keepdim=True))
    assert not torch.allclose(found / found.max(), other / other.max(), atol=1e-2)


def test_small_gradients_are_not_lost_in_a_constant():
    """With an ε of 1e-6 under the fraction, gradients of 1e-4 would lose 99 % of their weight."""
    net, x = rectified().eval(), images(1, 9, 7)
    large = class_activation_map(net, x, "gradcam++", lambda output: output[:, 1], "front").raw
    small = class_activation_map(net, x, "gradcam++", lambda output: output[:, 1] * 1e-6, "front").raw
    with torch.no_grad():
        a = net.front(x)
    limit = class_activation_map(net, x, "layercam", 1, "front").raw
    assert bool(large.any())
    # With ever smaller gradients α becomes 1/2, and the weight half the sum of the positive gradients.
    a = a.requires_grad_()
    (g,) = torch.autograd.grad(net.tail(a)[:, 1].sum() * 1e-6, a)
    expected = (g.relu().sum((2, 3), keepdim=True) / 2 * a.detach()).sum(1).relu()
    torch.testing.assert_close(small, expected, rtol=1e-3, atol=0)
    assert limit.shape == small.shape


def test_a_map_is_not_squared_when_it_is_drawn():
    found = class_activation_map(pooled(), images(1, 12, 12), "gradcam", 2, "relu1")
    torch.testing.assert_close(found.map, found.raw / found.raw.max())


def test_an_empty_map_is_told_and_no_error():
    net = pooled()
    with torch.no_grad():
        net.fc.weight[1] = -net.fc.weight[1].abs()
    found = class_activation_map(net, images(1, 10, 8), "gradcam", 1, "relu2")
    assert not bool(found.raw.any())
    assert found.numbers["images"][0]["empty"] is True
    assert class_activation_map(net, images(1, 10, 8), "hirescam", 1, "relu2").numbers["images"][0]["empty"] is False


def test_a_target_that_knows_its_images_by_their_place_is_given_whole_batches():
    """Score-CAM and Ablation-CAM score many changed images at once."""
    net, x = pooled().eval(), images(3, 10, 8)

    def each_its_own(output):
        assert len(output) == 3
        return output[torch.arange(3), torch.tensor([0, 4, 2])]

    for method in ("scorecam", "iscam", "ablationcam", "shapleycam", "gradcam"):
        own = class_activation_map(net, x, method, each_its_own, "relu2")
        named = class_activation_map(net, x, method, [0, 4, 2], "relu2")
        torch.testing.assert_close(own.raw, named.raw)
        assert own.target == ("each_its_own",) * 3


def test_random_weights_say_no_class_and_a_network_without_maps_has_none():
    model = viztool.load_model("squeezenet1_1", weights=None)
    heatmap = viztool.class_activation_map(model, np.zeros((64, 64, 3), np.uint8), target=3)
    assert [list(each) for each in heatmap.predictions] == [[]]
    flat = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
    message = r"^no layer puts out maps \(channels of height × width\): there is nothing to draw$"
    with pytest.raises(LayerError, match=message):
        viztool.class_activation_map(flat, torch.randn(1, 3, 2, 2))


class Constant(nn.Module):
    """The second channel of its layer is the same everywhere."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(3, 4, 3, (1, 2))
        self.fc = nn.Linear(4, 3)
        with torch.no_grad():
            self.layer.weight[1] = 0
            self.layer.bias[1] = 0.158026
            self.fc.weight.mul_(5)

    def forward(self, x):
        return self.fc(self.layer(x).square().mean((2, 3)))


def test_a_constant_map_hides_all_however_its_enlarging_is_rounded():
    net = Constant().eval()
    x = images(1, 16, 18)
    with torch.no_grad():
        maps = net.layer(x)
        up = F.interpolate(maps, x.shape[2:], mode="bilinear")
        assert bool((up[:, 1].amax() > up[:, 1].amin()).all())  # only by rounding
        masks = (up - up.amin((2, 3), keepdim=True)) / (up.amax((2, 3), keepdim=True) - up.amin((2, 3), keepdim=True))
        masks[:, 1] = 0
        weights = torch.cat([net(x * mask)[:, 2] for mask in masks[0]]).softmax(0)
        expected = (weights[:, None, None] * maps[0]).sum(0).relu()
    found = class_activation_map(net, x, "scorecam", 2, "layer").raw[0]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


class Overwriting(nn.Module):
    """One ReLU in place, called twice, and a ReLU6 in place behind it: torch itself cannot derive it at the start."""

    def __init__(self):
        super().__init__()
        self.stem, self.conv, self.relu = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(inplace=True)
        self.cut, self.head = nn.ReLU6(inplace=True), nn.Linear(4, 3)

    def forward(self, x):
        x = self.stem(x)
        for _ in range(2):
            x = self.relu(self.conv(x))
        return self.head(self.cut(x).mean((2, 3)))


def test_a_network_that_nobody_can_derive_says_so_in_one_line():
    torch.manual_seed(0)
    net, x = Overwriting().eval(), torch.randn(1, 3, 16, 16)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        net(x).sum().backward()
    for look in (lambda: class_activation_map(net, x, layer="stem"), lambda: viztool.attribute(net, x, "gradient")):
        with pytest.raises(NoGradientError) as raised:
            look()
        assert str(raised.value) == (
            "the network overwrites in place what its own gradient needs, so none can be had, in training neither: "
            "take inplace=True from the layer that does it, or choose a later layer"
        )
    assert class_activation_map(net, x, layer="cut").raw.isfinite().all()


def test_a_page_of_it_has_the_maps_and_the_classes_without_theirs():
    torch.manual_seed(0)
    model = viztool.wrap_model(Overwriting().eval(), size=16, mean=0.5, std=0.25)
    photo = np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)
    page = viztool.explore(model, photo, layers=["stem", "cut"])
    (seen,) = page.looks
    assert [layer.of.name for layer in seen.layers] == ["stem", "cut"]
    assert [one.cams for one in seen.classes] == [[None, None]] * 3
    assert page.warning == "the network overwrites in place what its own gradient needs: the classes are without maps"
    later = viztool.explore(model, photo, layers=["cut"])
    assert all(one.cams[0] is not None for one in later.looks[0].classes)
    assert later.warning == ""


@pytest.mark.parametrize("look", [class_activation_map, viztool.attribute])
def test_a_tensor_of_bytes_is_no_normalised_one(look):
    with pytest.raises(ModelError) as raised:
        look(nn.Sequential(nn.Conv2d(3, 4, 3)), torch.zeros(1, 3, 16, 16, dtype=torch.uint8))
    assert str(raised.value) == (
        "a tensor to look at holds normalised numbers, not torch.uint8: normalise it, or give the photo"
    )
