"""Every attribution, held to every rule of the house."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from attribution_nets import Functional, Gated, Residual, Tokens, conv_net, same_state, state_of
from torch import nn

from viztool.attribution import METHODS, attribute, describe
from viztool.errors import ModelError, TargetError, ViztoolError
from viztool.models import wrap_model
from viztool.models.subject import looks_at

SMALL = {
    "smoothgrad": {"samples": 11},
    "vargrad": {"samples": 11},
    "integrated_gradients": {"steps": 13},
    "occlusion": {"window": 4, "stride": 3},
    "rise": {"samples": 21},
}
BLACK_BOX = ("occlusion", "rise")
OF_ANY_NET = ("gradient", "gradient_x_input", "smoothgrad", "vargrad", "integrated_gradients", *BLACK_BOX)
SEEDED = ("smoothgrad", "vargrad", "rise")

NETS = {"residual": Residual, "functional": Functional}


def small(net: nn.Module, x: torch.Tensor, method: str, **options):
    return attribute(net, x, method, **{**SMALL.get(method, {}), **options})


def close(one: torch.Tensor, two: torch.Tensor, share: float = 1e-5) -> bool:
    return bool((one - two).abs().max() <= share * two.abs().max())


def test_the_methods_are_these():
    assert METHODS == (
        "gradient",
        "gradient_x_input",
        "smoothgrad",
        "vargrad",
        "integrated_gradients",
        "guided_backprop",
        "deconvnet",
        "guided_gradcam",
        "occlusion",
        "rise",
        "lrp_epsilon",
        "lrp_zplus",
        "deeplift",
    )


@pytest.mark.parametrize("name", METHODS)
def test_each_method_says_its_paper_and_its_formula(name):
    title, formula = describe(name).split("\n", 1)
    assert title.endswith(")")
    assert any(year in title for year in map(str, range(2014, 2021))) or "2015" in title
    assert len(formula) > 20


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("method", METHODS)
class TestEveryMethod:
    def test_rules(self, method, net):
        """Shape, type and sign; batch = one by one; nothing changes; the same again, and frozen."""
        net = NETS[net]().train()
        net.fc.weight.grad = torch.ones_like(net.fc.weight)
        x = torch.randn(3, 3, 12, 14)
        given, targets = x.clone(), [2, 0, 3]
        before, noise = state_of(net), torch.get_rng_state()
        result = small(net, x, method, target=targets)

        assert same_state(before, state_of(net))
        assert torch.equal(x, given)
        assert torch.equal(noise, torch.get_rng_state())
        assert result.raw.shape == (3, 12, 14)
        assert result.raw.dtype == torch.float32
        assert not result.raw.requires_grad
        assert bool(result.raw.isfinite().all())
        assert bool((result.raw != 0).any())
        assert result.signed or bool((result.raw >= 0).all())
        assert result.method == method
        assert result.classes == (2, 0, 3)
        with torch.no_grad():
            assert torch.allclose(result.score, net.eval()(x.clone()).gather(1, torch.tensor(targets)[:, None])[:, 0])
        json.dumps(result.numbers)

        for index in range(3):
            alone = small(net, x[index : index + 1], method, target=targets[index])
            # What is left of RISE's probabilities when their mean is taken off has lost digits.
            assert close(alone.raw[0], result.raw[index], 1e-4 if method == "rise" else 1e-5)

        assert torch.equal(small(net, x, method, target=targets).raw, result.raw)
        with torch.no_grad():
            assert torch.equal(small(net, x, method, target=targets).raw, result.raw)
        with torch.inference_mode():
            assert torch.equal(small(net, x.clone(), method, target=targets).raw, result.raw)
        assert torch.equal(small(net.requires_grad_(False), x, method, target=targets).raw, result.raw)

    def test_half_precision(self, method, net):
        torch.manual_seed(1)  # with 0 the Grad-CAM of class 1 is empty
        net = NETS[net]()
        x = torch.randn(1, 3, 12, 14)
        full = small(net, x, method, target=1).raw
        half = small(net.bfloat16(), x.bfloat16(), method, target=1).raw
        assert half.dtype == torch.float32
        assert float(torch.corrcoef(torch.stack([full.flatten(), half.flatten()]))[0, 1]) > 0.8

    def test_a_score_of_ones_own(self, method, net):
        """A callable gets whole batches of its own images, and means the class where it is one."""
        net, x = NETS[net](), torch.randn(2, 3, 12, 14)

        def score(output):
            assert len(output) == 2
            return torch.stack([output[0, 1], output[1, 2]])

        own = small(net, x, method, target=score)
        assert own.target == ("score", "score")
        assert own.classes is None
        if method != "rise":  # which is of the probability where the target is a class
            assert close(own.raw, small(net, x, method, target=[1, 2]).raw)

    def test_the_network_is_as_it_was_after_an_error(self, method, net):
        net = NETS[net]().train()
        before = state_of(net)

        def broken(output):
            raise RuntimeError("broken")

        with pytest.raises(RuntimeError, match=r"^broken$"):
            small(net, torch.randn(1, 3, 12, 14), method, target=broken)
        assert same_state(before, state_of(net))


@pytest.mark.parametrize("method", OF_ANY_NET)
def test_networks_of_tokens(method):
    net = Tokens().eval()
    raw = small(net, torch.randn(2, 3, 16, 16), method, target=1).raw
    assert raw.shape == (2, 16, 16)
    assert bool((raw != 0).any())


@pytest.mark.parametrize("method", SEEDED)
def test_the_seed_is_told_and_makes_the_difference(method):
    net, x = conv_net(), torch.randn(1, 3, 12, 12)
    one, two, again = (small(net, x, method, target=0, seed=seed) for seed in (1, 2, 1))
    assert one.seed == 1
    assert one.raw.numpy().tobytes() == again.raw.numpy().tobytes()
    assert not torch.equal(one.raw, two.raw)


@pytest.mark.parametrize("method", [name for name in METHODS if name not in SEEDED])
def test_without_chance_there_is_no_seed(method):
    net, x = Residual(), torch.randn(1, 3, 12, 12)
    one, two = (small(net, x, method, target=0, seed=seed) for seed in (1, 2))
    assert one.seed is None
    assert torch.equal(one.raw, two.raw)


@pytest.mark.parametrize("method", ["smoothgrad", "integrated_gradients", "occlusion", "rise"])
def test_the_chunks_make_no_difference_and_memory_that_is_short_is_no_end(method, monkeypatch):
    net, x = Residual(), torch.randn(1, 3, 12, 12)
    expected = small(net, x, method, target=0).raw
    sizes = []
    forward = net.forward

    def short(images):
        sizes.append(len(images))
        if len(images) > 2:
            raise torch.OutOfMemoryError
        return forward(images)

    net.forward = short
    assert close(small(net, x, method, target=0).raw, expected)
    assert 8 in sizes
    assert max(size for size in sizes if size <= 2) == 2


def test_photos_are_looked_at_as_one_batch():
    model = wrap_model(conv_net(), size=12, mean=0.5, std=0.5, classes=["a", "b", "c", "d"])
    photos = [np.random.default_rng(seed).integers(0, 256, (20, 30, 3), dtype=np.uint8) for seed in (0, 1)]
    both = attribute(model, photos, "gradient", ["b", "d"])
    assert both.target == ("b", "d")
    for index, photo in enumerate(photos):
        ((x, _),) = looks_at(model, photo, "photo")[0]
        assert close(attribute(model.net, x, "gradient", [1, 3][index]).raw[0], both.raw[index])
    assert both.picture().dtype == np.uint8


def test_baselines():
    model = wrap_model(conv_net(), size=12, mean=0.5, std=0.25)
    photo = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    x = model.preprocess(photo)

    def difference(baseline):
        return attribute(model, photo, target=0, baseline=baseline, steps=13).details["completeness"]["whole"][0]

    def score(image):
        with torch.no_grad():
            return float(model.net(image)[0, 0])

    assert difference("mean") == pytest.approx(score(x) - score(torch.zeros_like(x)), abs=1e-5)
    assert difference("black") == pytest.approx(score(x) - score(torch.full_like(x, -2.0)), abs=1e-5)
    own = torch.randn(3, 12, 12)
    assert difference(own) == pytest.approx(score(x) - score(own[None]), abs=1e-5)
    assert difference("blur") != difference("mean")


def test_the_blur_keeps_what_is_even_and_the_mean_of_what_is_not():
    from viztool.attribution.baseline import baseline_of

    even = torch.full((1, 3, 64, 64), 1.5)
    assert close(baseline_of(nn.Identity(), even, "blur"), even)
    dot = torch.zeros(1, 1, 65, 65)
    dot[..., 32, 32] = 1
    blurred = baseline_of(nn.Identity(), dot, "blur")[0, 0]
    sigma = 10 / 224 * 65
    assert float(blurred.sum()) == pytest.approx(1, abs=1e-4)
    assert float(blurred[32, 32]) == pytest.approx(1 / (2 * torch.pi * sigma**2), rel=0.02)


def test_a_network_of_one_channel():
    grey = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 36, 2))
    assert attribute(grey, torch.randn(1, 1, 8, 8), "gradient").raw.shape == (1, 8, 8)


ERRORS = [
    (
        {"method": "integrated gradient"},
        ViztoolError,
        "no attribution is called 'integrated gradient'; nearest: integrated_gradients, gradient, gradient_x_input",
    ),
    ({"method": "gradient", "steps": 3}, ViztoolError, "gradient has no option 'steps'; it has none"),
    ({"method": "rise", "steps": 3}, ViztoolError, "rise has no option 'steps'; it has samples, grid, probability"),
    ({"steps": 2.5}, ViztoolError, "steps is 2.5; give a whole number"),
    ({"steps": None}, ViztoolError, "steps is None; give a whole number"),
    ({"method": "rise", "probability": "half"}, ViztoolError, "probability is 'half'; give a number"),
    ({"steps": 0}, ViztoolError, "steps is 0; give at least 1"),
    ({"method": "smoothgrad", "samples": 0}, ViztoolError, "samples is 0; give at least 1"),
    ({"method": "occlusion", "window": 0}, ViztoolError, "window is 0; give at least 1"),
    ({"method": "occlusion", "stride": 0}, ViztoolError, "stride is 0; give at least 1"),
    ({"method": "rise", "probability": 1.0}, ViztoolError, "probability is 1.0; give one between 0 and 1"),
    ({"method": "lrp_epsilon", "epsilon": -1.0}, ViztoolError, "epsilon is -1.0; give at least 0"),
    (
        {"baseline": "white"},
        ViztoolError,
        "no baseline is called 'white'; there are mean, black, blur, or a tensor",
    ),
    (
        {"baseline": "black"},
        ModelError,
        "what is black to a bare network is not known; use wrap_model first, or give a tensor",
    ),
    (
        {"baseline": torch.zeros(3, 5, 5)},
        ViztoolError,
        "a baseline of (3, 5, 5) does not fit inputs of (1, 3, 12, 12)",
    ),
    ({"target": 9}, TargetError, "class 9 is not one of the network's 4 classes, 0 to 3"),
    (
        {"target": lambda output: output.detach()[:, 0], "method": "gradient"},
        TargetError,
        "the score does not depend on the input by a gradient; use occlusion or rise",
    ),
]


@pytest.mark.parametrize(("options", "kind", "message"), ERRORS)
def test_errors(options, kind, message):
    with pytest.raises(kind) as caught:
        attribute(conv_net(), torch.randn(1, 3, 12, 12), **options)
    assert str(caught.value) == message


@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet", "guided_gradcam"])
def test_guided_methods_need_relus(method):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    name = "guided_backprop" if method == "guided_gradcam" else method
    message = f"^{name} changes what ReLUs pass on, and this network has none \\(it has silu\\); use gradient$"
    with pytest.raises(ModelError, match=message):
        attribute(net, torch.randn(1, 3, 12, 12), method)


def test_other_activations_than_relu_are_told():
    details = attribute(Gated(), torch.randn(1, 3, 12, 12), "guided_backprop").details
    assert details["rectifiers"] == 1
    assert details["plain_gradient_through"] == {"silu": 1, "sigmoid": 1}


class OwnReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, gradient):
        return gradient * (ctx.saved_tensors[0] > 0)


class WithOwn(nn.Module):
    def forward(self, x):
        return OwnReLU.apply(x).mean((2, 3)).relu()


class InPart(nn.Module):
    def forward(self, x):
        y = x * 2
        y[:, :1].relu_()
        return y.mean((2, 3)).relu()


@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet", "lrp_epsilon", "lrp_zplus", "deeplift"])
@pytest.mark.parametrize("net", [WithOwn, Tokens])
def test_what_has_no_rule_is_an_error_and_never_a_wrong_map(method, net):
    with pytest.raises(ModelError, match=rf"^{method} (has no rule for|cannot see|changes what)"):
        attribute(net(), torch.randn(1, 3, 16, 16), method, 0)


@pytest.mark.parametrize("method", ["lrp_epsilon", "lrp_zplus", "deeplift"])
@pytest.mark.parametrize("norm", [nn.InstanceNorm2d(4), nn.BatchNorm2d(4, track_running_stats=False)], ids=repr)
def test_a_norm_by_the_inputs_own_statistics_is_not_linear(method, norm):
    net = nn.Sequential(nn.Conv2d(1, 4, 3), norm, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    message = (
        f"^{method} has no rule for a batch or instance norm by the input's own statistics, which this network uses; "
        "use integrated_gradients$"
    )
    with pytest.raises(ModelError, match=message):
        attribute(net, torch.randn(2, 1, 8, 8), method, 0)


def test_an_instance_norm_by_statistics_that_it_keeps_is_linear():
    norm = nn.InstanceNorm2d(4, track_running_stats=True, affine=True)
    nn.init.uniform_(norm.running_var, 0.5, 2)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), norm, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    told = attribute(net, torch.randn(2, 1, 8, 8), "deeplift", 0).details["completeness"]
    assert max(told["relative"]) < 1e-4


def test_a_relu_in_place_on_a_part_of_a_tensor_is_met():
    class Whole(nn.Module):
        def forward(self, x):
            y = x * 2
            return torch.cat([y[:, :1].relu(), y[:, 1:]], 1).mean((2, 3)).relu()

    x = torch.randn(1, 3, 8, 8)
    for method in ("guided_backprop", "deconvnet", "lrp_epsilon", "deeplift"):
        expected = attribute(Whole(), x, method, 0)
        found = attribute(InPart(), x, method, 0)
        assert close(found.raw, expected.raw)
        assert found.details.get("rectifiers") == expected.details.get("rectifiers")


def test_what_works_in_place_on_a_part_without_a_rule_is_an_error():
    class Hidden(nn.Module):
        def forward(self, x):
            y = x * 2
            y[:, :1].erf_()
            return y.mean((2, 3))

    message = "^deeplift has no rule for 'erf' in place on a part of a tensor; use integrated_gradients$"
    with pytest.raises(ModelError, match=message):
        attribute(Hidden(), torch.randn(1, 3, 8, 8), "deeplift", 0)


@pytest.mark.parametrize("method", ["lrp_epsilon", "lrp_zplus", "deeplift"])
def test_what_gives_back_a_part_as_it_was_is_no_work_in_place(method):
    class Dropped(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4 * 36, 4)

        def forward(self, x):
            x = self.conv(x).relu().flatten(1)
            return self.fc(nn.functional.dropout(x, 0.5, self.training).contiguous())

    net, x = Dropped(), torch.randn(2, 3, 8, 8)
    plain = nn.Sequential(net.conv, nn.ReLU(), nn.Flatten(), net.fc)
    assert close(attribute(net, x, method, 1).raw, attribute(plain, x, method, 1).raw)


def test_weights_that_are_not_finite_are_an_error():
    net = conv_net()
    with torch.no_grad():
        net[0].weight[0, 0, 0, 0] = torch.nan
    message = "^the score is not finite \\(NaN or infinity\\): look at the network's weights, and at the input$"
    with pytest.raises(ModelError, match=message):
        attribute(net, torch.randn(1, 3, 12, 12), target=0)
