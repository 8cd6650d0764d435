"""Each attribution against what mathematics says it must be, or against a slow and plain version of it."""

from __future__ import annotations

import copy

import pytest
import torch
from attribution_nets import Functional, Gated, Residual, conv_net
from torch import nn
from torch.nn import functional as F

from viztool.attribution import attribute
from viztool.models import wrap_model


def relative(one: torch.Tensor, two: torch.Tensor) -> float:
    return float((one - two).abs().max() / two.abs().max())


def image(batch: int = 2, size: int = 12) -> torch.Tensor:
    return torch.randn(batch, 3, size, size)


def linear_net(size: int = 12) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * size * size, 4))


def score_of(net: nn.Module, x: torch.Tensor, index: int = 1) -> torch.Tensor:
    with torch.no_grad():
        return net.eval()(x.clone())[:, index]


# Of a linear model, f = w·x + b


def test_the_gradient_of_a_linear_model_is_its_weight():
    net, x = linear_net(), image()
    w = net[1].weight[1].detach().view(1, 3, 12, 12)
    assert relative(attribute(net, x, "gradient", 1).raw, w.sum(1).expand(2, -1, -1)) < 1e-6
    assert relative(attribute(net, x, "gradient_x_input", 1).raw, (w * x).sum(1)) < 1e-5
    assert relative(attribute(net, x, "smoothgrad", 1, samples=9).raw, w.sum(1).expand(2, -1, -1)) < 1e-5
    assert float(attribute(net, x, "vargrad", 1, samples=9).raw.max()) < 1e-10


@pytest.mark.parametrize(("window", "stride"), [(4, 4), (5, 2), (12, 1), (3, 5)])
def test_occlusion_of_a_linear_model_is_w_times_what_the_window_hid(window, stride):
    net, x, baseline = linear_net(), image(), torch.randn(3, 12, 12)
    parts = (net[1].weight[1].detach().view(3, 12, 12) * (x - baseline)).sum(1)
    starts = sorted({*range(0, 12 - window, stride), 12 - window})
    total, count = torch.zeros(2, 12, 12), torch.zeros(12, 12)
    for top in starts:
        for left in starts:
            place = (slice(top, top + window), slice(left, left + window))
            total[:, place[0], place[1]] += parts[:, place[0], place[1]].sum((1, 2))[:, None, None]
            count[place] += 1
    covered = count > 0
    result = attribute(net, x, "occlusion", 1, baseline=baseline, window=window, stride=stride)
    assert result.details["windows"] == len(starts) ** 2
    if stride <= window:
        assert bool(covered.all())
        assert relative(result.raw, total / count) < 1e-5
    else:
        assert relative(result.raw[:, covered], (total / count.clamp_min(1))[:, covered]) < 1e-5
        assert bool((result.raw[:, ~covered] == 0).all())


@pytest.mark.parametrize("method", ["integrated_gradients", "deeplift"])
def test_methods_with_a_baseline_give_each_pixel_of_a_linear_model_its_part(method):
    net, x, baseline = linear_net(), image(), torch.randn(3, 12, 12)
    parts = (net[1].weight[1].detach().view(3, 12, 12) * (x - baseline)).sum(1)
    assert relative(attribute(net, x, method, 1, baseline=baseline).raw, parts) < 1e-5


def test_rise_of_a_linear_model_is_what_its_masks_make_of_it_within_its_own_spread():
    """E[f m_i] / E[m_i] − E[f] = Σ_j c_j (E[m_i m_j] / p − p), with E[m_i m_j] from masks drawn here in another way."""
    size, grid, cell = 8, 2, 4
    net, x, baseline = linear_net(size), image(1, size), torch.randn(3, size, size)
    parts = (net[1].weight[1].detach().view(3, size, size) * (x - baseline)).sum(1).double().flatten()
    products, count = torch.zeros(size * size, size * size, dtype=torch.float64), 0
    for pattern in range(2 ** (grid * grid)):
        cells = torch.tensor([(pattern >> bit) & 1 for bit in range(grid * grid)], dtype=torch.float32)
        large = F.interpolate(cells.view(1, 1, grid, grid), (cell * (grid + 1),) * 2, mode="bilinear")[0, 0].double()
        for top in range(cell):
            for left in range(cell):
                mask = large[top : top + size, left : left + size].flatten()
                products += mask[:, None] * mask
                count += 1
    expected = (products / count / 0.5 - 0.5) @ parts

    def own(output):
        return output[:, 1]

    options = {"baseline": baseline, "grid": grid, "samples": 4000}
    results = [attribute(net, x, "rise", own, seed=seed, **options) for seed in range(4)]
    errors = torch.stack([one.raw[0].double().flatten() - expected for one in results])
    told = results[0].details["standard_error"][0]
    found = float((errors**2).mean().sqrt())
    assert 0.5 < found / told < 1.6
    assert abs(float(errors.mean())) < 3 * told
    at_baseline = float(score_of(net, baseline[None])[0])
    assert results[0].details["mean"][0] == pytest.approx(at_baseline + 0.5 * float(parts.sum()), abs=0.1)
    assert results[0].unit == "score"


def test_rise_is_of_the_probability_of_a_class():
    net, x = conv_net(), image(1)
    found = attribute(wrap_model(net, output="softmax"), x, "rise", 1, samples=40)
    raw = found.raw
    assert found.unit == "probability"
    assert bool(((raw + found.details["mean"][0] >= 0) & (raw + found.details["mean"][0] <= 1)).all())

    def own(output):
        return output.softmax(1)[:, 1]

    assert relative(raw, attribute(net, x, "rise", own, samples=40).raw) < 1e-4
    # Of a bare network nobody knows whether it has probabilities.
    scores = attribute(net, x, "rise", 1, samples=40)
    assert scores.unit == "score"
    assert relative(scores.raw, attribute(net, x, "rise", lambda output: output[:, 1], samples=40).raw) < 1e-5


# Gradients


@pytest.mark.parametrize("net", [Residual, Functional, Gated])
def test_the_gradient_is_autograds(net):
    net, x = net().eval(), image()
    leaf = x.clone().requires_grad_()
    net(leaf.clone())[:, 1].sum().backward()
    assert relative(attribute(net, x, "gradient", 1).raw, leaf.grad.sum(1)) < 1e-6


def test_smoothgrad_is_the_gradient_where_the_noise_is_none():
    net, x = Residual(), image()
    gradient = attribute(net, x, "gradient", 1).raw
    assert relative(attribute(net, x, "smoothgrad", 1, samples=10, noise=1e-7).raw, gradient) < 1e-3
    assert relative(attribute(net, x, "smoothgrad", 1, samples=10, noise=0.3).raw, gradient) > 0.05


@pytest.mark.parametrize("samples", [1, 5, 19])
def test_smoothgrad_and_vargrad_are_moments_of_plain_gradients(samples):
    """One by one, and with the two-pass formula of the variance."""
    net, x = Gated().eval(), image()
    generator = torch.Generator().manual_seed(3)
    spread = 0.15 * (x.flatten(1).amax(1) - x.flatten(1).amin(1)).view(2, 1, 1, 1)
    gradients = []
    for _ in range(samples):
        leaf = (x + spread * torch.randn(3, 12, 12, generator=generator)).requires_grad_()
        net(leaf)[:, 1].sum().backward()
        gradients.append(leaf.grad)
    stack = torch.stack(gradients)
    options = {"samples": samples, "seed": 3}
    assert relative(attribute(net, x, "smoothgrad", 1, **options).raw, stack.mean(0).sum(1)) < 1e-5
    variance = attribute(net, x, "vargrad", 1, **options).raw
    expected = stack.var(0, correction=0).sum(1)
    assert float((variance - expected).abs().max()) <= 1e-4 * float(stack.square().sum(2).max())
    assert bool((variance >= 0).all())


@pytest.mark.parametrize("net", [Residual, Functional, Gated, conv_net])
def test_integrated_gradients_are_complete_and_tell_their_error(net):
    net, x, baseline = net().eval(), image(), torch.randn(3, 12, 12)
    result = attribute(net, x, "integrated_gradients", 1, baseline=baseline, steps=200)
    whole = score_of(net, x) - score_of(net, baseline[None])
    told = result.details["completeness"]
    assert torch.tensor(told["whole"]) == pytest.approx(whole, abs=1e-5)
    error = (result.raw.double().sum((1, 2)) - whole).abs()
    assert torch.tensor(told["error"]) == pytest.approx(error, abs=1e-5)
    assert torch.tensor(told["relative"]) == pytest.approx(error / whole.abs(), abs=1e-4)
    assert bool((error < 0.02 * whole.abs().max()).all())


def test_one_step_of_integrated_gradients_is_not_complete_and_says_so():
    net, x = Residual().eval(), 3 * image()
    rough, fine = (attribute(net, x, steps=steps, target=1).details["completeness"]["error"] for steps in (1, 100))
    assert max(fine) < 0.1 * max(rough)


@pytest.mark.parametrize("net", [lambda: conv_net(bias=False), lambda: Functional(bias=False)])
def test_on_a_homogeneous_network_four_methods_are_one(net):
    """f(tx) = t f(x): the gradient is the same all the way, and no bias takes a part."""
    net, x = net().eval(), image()
    expected = attribute(net, x, "gradient_x_input", 1).raw
    assert relative(expected.sum((1, 2)), score_of(net, x)) < 1e-5
    assert relative(attribute(net, x, "integrated_gradients", 1).raw, expected) < 1e-4
    assert relative(attribute(net, x, "lrp_epsilon", 1).raw, expected) < 1e-4
    assert relative(attribute(net, x, "deeplift", 1).raw, expected) < 1e-4


# Guided backpropagation and deconvolution


class GuidedReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, gradient):
        return gradient.clamp(min=0) * (ctx.saved_tensors[0] > 0)


class DeconvReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, gradient):
        return gradient.clamp(min=0)


class Replaced(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function.apply(x)


def rewritten(net: nn.Module, function) -> nn.Module:
    """A copy in which every nn.ReLU is this function."""
    net = copy.deepcopy(net)
    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU):
                setattr(module, name, Replaced(function))
    return net


@pytest.mark.parametrize(("method", "function"), [("guided_backprop", GuidedReLU), ("deconvnet", DeconvReLU)])
@pytest.mark.parametrize("net", [Residual, conv_net])
def test_guided_methods_are_those_of_a_rewritten_network(method, function, net):
    net, x = net().eval(), image()
    leaf = x.clone().requires_grad_()
    rewritten(net, function)(leaf)[:, 1].sum().backward()
    result = attribute(net, x, method, 1)
    assert relative(result.raw, leaf.grad.sum(1)) < 1e-5
    assert relative(result.raw, attribute(net, x, "gradient", 1).raw) > 0.1
    assert result.details["plain_gradient_through"] == {}


@pytest.mark.parametrize(
    "relu",
    [
        lambda x: x.relu(),
        lambda x: torch.relu_(x),
        lambda x: F.relu(x, inplace=True),
        lambda x: x.clamp(min=0),
        lambda x: x.clamp_min_(0),
        lambda x: F.threshold(x, 0, 0),
        lambda x: torch.clip(x, 0),
    ],
)
@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet", "lrp_epsilon", "lrp_zplus", "deeplift"])
def test_a_relu_is_a_relu_by_whatever_name(method, relu):
    class Named(nn.Module):
        def __init__(self, function):
            super().__init__()
            self.conv1, self.conv2, self.function = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), function

        def forward(self, x):
            return self.function(self.conv2(self.function(self.conv1(x)))).mean((2, 3))

    net, named, x = Named(nn.ReLU()), Named(relu), image()
    named.load_state_dict(net.state_dict())
    expected = attribute(net, x, method, 1).raw
    assert relative(attribute(named, x, method, 1).raw, expected) < 1e-6


def test_guided_gradcam_is_the_product():
    net, x = Residual().eval(), image()
    guided = attribute(net, x, "guided_backprop", 1).raw
    captured = {}

    def keep(module, args, output):
        captured["a"] = output

    handle = net.pool.register_forward_hook(keep)
    score = net(x.clone())[:, 1].sum()
    handle.remove()
    # `pool` goes on into an in-place sum's second term only, so it is not overwritten.
    (gradient,) = torch.autograd.grad(score, captured["a"])
    cam = (gradient.mean((2, 3), keepdim=True) * captured["a"].detach()).sum(1, keepdim=True).relu()
    expected = guided * F.interpolate(cam, (12, 12), mode="bilinear")[:, 0]
    result = attribute(net, x, "guided_gradcam", 1, layer="pool")
    assert result.details["layer"] == "pool"
    assert relative(result.raw, expected) < 1e-5


# LRP


def stabilised(z: torch.Tensor, epsilon: float) -> torch.Tensor:
    return z + epsilon * torch.where(z >= 0, 1.0, -1.0)


def lrp_of_sequence(net: nn.Sequential, x: torch.Tensor, index: int, epsilon: float, positive: bool) -> torch.Tensor:
    """Layer by layer, with relevance itself: R_i = x_i Σ_j w_ij R_j / z_j. Shapes: x (N, C, H, W)."""
    inputs = [x]
    for layer in net:
        inputs.append(layer(inputs[-1].clone()))
    relevance = torch.zeros_like(inputs[-1])
    relevance[:, index] = inputs[-1][:, index]
    for layer, given, made in zip(reversed(list(net)), inputs[-2::-1], inputs[:0:-1], strict=True):
        if isinstance(layer, nn.ReLU | nn.Flatten):
            relevance = relevance.reshape(given.shape)
            continue
        if positive and isinstance(layer, nn.Conv2d):
            total = torch.zeros_like(given)
            z = torch.zeros_like(made)
            parts = [(given.clamp(min=0), layer.weight.clamp(min=0)), (given.clamp(max=0), layer.weight.clamp(max=0))]
            for part, weight in parts:
                z = z + F.conv2d(part, weight, None, layer.stride, layer.padding)
            s = torch.where(z > 0, relevance / z, 0)
            for part, weight in parts:
                back = F.conv_transpose2d(s, weight, None, layer.stride, layer.padding)
                total = total + part * back
            relevance = total
            continue
        leaf = given.detach().requires_grad_()
        z = layer(leaf.clone())
        # A pool is a layer with ε = 0 here.
        divisor = stabilised(z, epsilon) if isinstance(layer, nn.Conv2d | nn.Linear) else z
        s = torch.where(divisor != 0, relevance / divisor, 0).detach()
        relevance = leaf.detach() * torch.autograd.grad(z, leaf, s)[0]
    return relevance.sum(1).detach()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("method", "epsilon"), [("lrp_epsilon", 1e-6), ("lrp_epsilon", 0.1), ("lrp_zplus", 1e-6), ("lrp_zplus", 0.1)]
)
def test_lrp_is_that_of_a_plain_version(method, epsilon, bias):
    net, x = conv_net(bias), image()
    result = attribute(net, x, method, 1, epsilon=epsilon)
    with torch.enable_grad():
        expected = lrp_of_sequence(net, x, 1, epsilon, method == "lrp_zplus")
    assert relative(result.raw, expected) < 1e-4
    told = result.details["conservation"]
    assert torch.tensor(told["sum"]) == pytest.approx(expected.double().sum((1, 2)), abs=1e-4)
    assert torch.tensor(told["whole"]) == pytest.approx(score_of(net, x), abs=1e-5)


@pytest.mark.parametrize("net", [lambda: conv_net(bias=False), lambda: Functional(bias=False)])
@pytest.mark.parametrize("method", ["lrp_epsilon", "lrp_zplus"])
def test_lrp_conserves_where_there_are_no_biases(method, net):
    net, x = net(), image()
    told = attribute(net, x, method, 1).details["conservation"]
    assert max(told["relative"]) < 1e-4


def test_epsilon_lrp_is_gradient_times_input_behind_relus_batch_norms_and_sums():
    """Ancona et al. 2018, proposition 1; with a batch norm, a sum in place, pools, functional ReLUs."""
    for net in (Residual(), Functional(), conv_net()):
        x = image()
        expected = attribute(net, x, "gradient_x_input", 1).raw
        assert relative(attribute(net, x, "lrp_epsilon", 1, epsilon=0.0).raw, expected) < 1e-5


def folded_by_hand(net: Residual) -> Residual:
    """A copy whose batch norms do nothing, and whose convolutions do what both did."""
    net = copy.deepcopy(net).eval()
    for holder, conv_name, bn_name in ((net.stem, "0", "1"), (net, "conv1", "bn1"), (net, "conv2", "bn2")):
        conv, bn = getattr(holder, conv_name), getattr(holder, bn_name)
        scale = bn.weight / (bn.running_var + bn.eps).sqrt()
        folded = nn.Conv2d(conv.in_channels, conv.out_channels, 3, padding=1)
        with torch.no_grad():
            folded.weight.copy_(conv.weight * scale[:, None, None, None])
            folded.bias.copy_(bn.bias - bn.running_mean * scale)
        setattr(holder, conv_name, folded)
        setattr(holder, bn_name, nn.Identity())
    return net


@pytest.mark.parametrize(("method", "epsilon"), [("lrp_epsilon", 0.1), ("lrp_zplus", 1e-6), ("lrp_zplus", 0.1)])
def test_lrp_folds_batch_norms(method, epsilon):
    net, x = Residual().eval(), image()
    folded = folded_by_hand(net)
    assert torch.allclose(net(x), folded(x), atol=1e-5)
    result = attribute(net, x, method, 1, epsilon=epsilon).raw
    assert relative(result, attribute(folded, x, method, 1, epsilon=epsilon).raw) < 1e-4


def test_zplus_conserves_through_batch_norms_sums_and_pools():
    net, x = Residual(), image()
    with torch.no_grad():
        net.fc.bias.zero_()
    told = attribute(net, x, "lrp_zplus", 1).details["conservation"]
    assert max(told["relative"]) < 1e-4


def test_zplus_shares_a_sum_by_its_positive_parts():
    class Sum(nn.Module):
        def forward(self, x):
            return (x[:, :1] + x[:, 1:2]).flatten(1)

    x = torch.tensor([3.0, 1.0, 4.0, -1.0]).view(1, 2, 1, 2).expand(1, 2, 2, 2).contiguous()
    raw = attribute(Sum(), torch.cat([x, x[:, :1]], 1), "lrp_zplus", lambda output: output.sum(1)).raw
    # 3 + 4 = 7 and 1 − 1 = 0: a⁺/(a⁺ + b⁺) · 7 is all there is, and channel by channel it adds up.
    assert raw[0].tolist() == [[7.0, 0.0], [7.0, 0.0]]


def test_lrp_holds_gates_fixed():
    """A product x · g: with g fixed and SiLU passed on, relevance is gradient × input with both fixed."""
    net, x = Gated().eval(), image()
    with torch.no_grad():
        z = net.conv(x)
        a = F.silu(z)
        gate = torch.sigmoid(net.excite(F.relu(net.squeeze(a.mean((2, 3), keepdim=True)))))
    leaf = x.clone().requires_grad_()
    net.fc((net.conv(leaf) * (a / z) * gate).mean((2, 3)))[:, 1].sum().backward()
    expected = (x * leaf.grad).sum(1)
    assert relative(attribute(net, x, "lrp_epsilon", 1, epsilon=0.0).raw, expected) < 1e-4


# DeepLIFT


@pytest.mark.parametrize("net", [Residual, Functional, Gated, conv_net])
@pytest.mark.parametrize("baseline", ["mean", "blur", "own"])
def test_deeplift_adds_up_to_the_difference(net, baseline):
    net, x = net().eval(), image()
    result = attribute(net, x, "deeplift", 1, baseline=torch.randn(3, 12, 12) if baseline == "own" else baseline)
    told = result.details["completeness"]
    assert torch.tensor(told["sum"]) == pytest.approx(torch.tensor(told["whole"]), abs=2e-6)
    assert torch.tensor(told["sum"]) == pytest.approx(result.raw.double().sum((1, 2)), abs=2e-6)
    assert max(map(abs, told["whole"])) > 1e-3


def test_the_rescale_rule_is_the_quotient_of_differences():
    """Of y = Σ f(x_i): each pixel's part is f(x_i) − f(b_i), where input and baseline are equal too."""
    x, baseline = image(1), torch.randn(3, 12, 12)
    baseline[:, 0] = x[0, :, 0]
    for function in (F.relu, torch.sigmoid, F.silu, torch.tanh, F.hardswish):

        class Sum(nn.Module):
            def __init__(self, function):
                super().__init__()
                self.function = function

            def forward(self, x):
                return self.function(x).flatten(1).sum(1, keepdim=True)

        raw = attribute(Sum(function), x, "deeplift", 0, baseline=baseline).raw
        assert relative(raw, (function(x) - function(baseline)).sum(1)) < 1e-4


def test_deeplift_gives_a_pools_difference_to_its_winner():
    class Pool(nn.Module):
        def forward(self, x):
            return F.max_pool2d(x, 2).flatten(1).sum(1, keepdim=True)

    x = torch.tensor([[5.0, 1.0], [0.0, 2.0]]).view(1, 1, 2, 2)
    baseline = torch.tensor([[1.0, 3.0], [0.0, 0.0]]).view(1, 2, 2)
    assert attribute(Pool(), x, "deeplift", 0, baseline=baseline).raw[0].tolist() == [[2.0, 0.0], [0.0, 0.0]]
    # The other way round the baseline's winner loses it.
    back = attribute(Pool(), baseline[None], "deeplift", 0, baseline=x[0]).raw
    assert back[0].tolist() == [[-2.0, 0.0], [0.0, 0.0]]
