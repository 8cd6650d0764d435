"""LRP and DeepLIFT go through the network alone; a sigmoid or a softmax may end it, stand in it, or be a gate."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import viztool
from viztool.targets import inside
from viztool.targets.question import Question

LRP = ["lrp_epsilon", "lrp_zplus"]


class Dense(nn.Module):
    """A segmentation network: a dict of logits at the size of the input."""

    def __init__(self, bias=False):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1, bias=bias),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 4, 3, padding=1, bias=bias),
        )

    def forward(self, x):
        logits = self.body(x)
        return {"out": F.interpolate(logits, x.shape[-2:], mode="bilinear"), "aux": logits}


def classifier(bias=False, end=None):
    torch.manual_seed(2)
    layers = [
        *(
            nn.Conv2d(3, 6, 3, padding=1, bias=bias),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 5, 3, bias=bias),
            nn.ReLU(),
        ),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4, bias=bias)),
    ]
    return nn.Sequential(*layers, *([] if end is None else [end]))


def dense(bias=False):
    torch.manual_seed(2)
    return Dense(bias)


def image(count=2):
    return torch.randn(count, 3, 12, 12, generator=torch.Generator().manual_seed(4))


def close(one, other, tolerance=1e-4):
    torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance * float(other.abs().max()))


def logits_times_input(net, x, multipliers):
    """Σ_k m_k x ∂z_k/∂x of a network's output z: (N, H, W)."""
    leaf = x.clone().requires_grad_()
    (net(leaf) * multipliers).sum().backward()
    return (leaf.grad * x).sum(1)


def masks():
    mask = torch.zeros(12, 12, dtype=torch.bool)
    mask[2:7, 3:9] = True
    return mask


TARGETS = {
    "class": 1,
    "inside": inside(masks(), 2),
    "own": lambda output: output["out"][:, 0].square().mean((1, 2)) + output["aux"].amax((1, 2, 3)),
}


@pytest.mark.parametrize("target", list(TARGETS))
class TestDenseOutputs:
    def test_lrp_of_a_relu_network_is_gradient_times_input(self, target):
        """Ancona et al. 2018, proposition 1; whatever the target does with the output."""
        net, x = dense(), image()
        found = viztool.attribute(net, x, "lrp_epsilon", TARGETS[target], epsilon=0.0)
        close(found.raw, viztool.attribute(net, x, "gradient_x_input", TARGETS[target]).raw)
        assert max(found.details["conservation"]["relative"]) < 1e-3

    def test_deeplift_is_complete(self, target):
        net, x = dense(bias=True), image()
        found = viztool.attribute(net, x, "deeplift", TARGETS[target])
        told = found.details["completeness"]
        assert max(told["relative"]) < 1e-3
        leaf = {key: value.detach().requires_grad_() for key, value in net(x).items()}
        score = Question(net, x, TARGETS[target]).target.score
        score(leaf).sum().backward()
        with torch.no_grad():
            origin = net(torch.zeros_like(x))
        parts = [(leaf[key].detach() - origin[key]) * leaf[key].grad for key in leaf if leaf[key].grad is not None]
        close(torch.tensor(told["whole"]), sum(part.flatten(1).sum(1) for part in parts), 1e-3)
        linear = target != "own"
        assert told["of"] == "f(x) − f(baseline)" + ("" if linear else " to first order in the output")

    @pytest.mark.parametrize("method", ["guided_backprop", "deconvnet", "lrp_zplus"])
    def test_others_go_back_from_the_gradient_at_the_output(self, method, target):
        net, x = dense(), image()
        out = {key: value.detach().requires_grad_() for key, value in net(x).items()}
        score = Question(net, x, TARGETS[target]).target.score
        score(out).sum().backward()
        starts = {key: torch.zeros_like(value) if value.grad is None else value.grad for key, value in out.items()}
        # The same as a score that is linear in the output: nothing but the starts counts.
        found = viztool.attribute(net, x, method, TARGETS[target])
        linear = viztool.attribute(net, x, method, lambda o: sum((o[k] * starts[k]).sum((1, 2, 3)) for k in starts))
        close(found.raw, linear.raw)


class TestEndings:
    @pytest.mark.parametrize("method", LRP)
    def test_a_sigmoid_scales_the_logits_map_and_keeps_its_sign(self, method):
        x = image()
        plain, ended = classifier(), classifier(end=nn.Sigmoid())
        with torch.no_grad():
            z = plain(x)[:, 1]
        logit, found = (viztool.attribute(net, x, method, 1) for net in (plain, ended))
        share = (z.sigmoid() - 0.5) / z
        assert bool((share > 0).all())
        close(found.raw, logit.raw * share[:, None, None])
        told = found.details["conservation"]
        close(torch.tensor(told["whole"]), z.sigmoid() - 0.5)
        assert told["of"] == "f(x), without what sigmoids and softmaxes give for 0"
        if method == "lrp_epsilon":
            assert max(told["relative"]) < 1e-3

    @pytest.mark.parametrize("end", [nn.Softmax(1), nn.LogSoftmax(1)])
    def test_a_softmax_is_shared_out_among_the_logits_by_its_rise_on_the_way_from_0(self, end):
        x = image()
        plain, ended = classifier(), classifier(end=end)
        plain[-1].weight.data *= 30
        ended[-2].weight.data *= 30
        with torch.no_grad():
            z = plain(x)
        steps = [(t + 0.5) / 2000 for t in range(2000)]
        mean = torch.zeros_like(z)
        for step in steps:
            leaf = (z * step).requires_grad_()
            end(leaf)[:, 1].sum().backward()
            mean += leaf.grad / len(steps)
        found = viztool.attribute(ended, x, "lrp_epsilon", 1, epsilon=0.0)
        close(found.raw, logits_times_input(plain, x, mean), 1e-3)
        at_zero = float(end(torch.zeros(1, 4))[0, 0])
        close(torch.tensor(found.details["conservation"]["whole"]), end(z)[:, 1] - at_zero, 1e-3)
        assert max(found.details["conservation"]["relative"]) < 1e-3

    @pytest.mark.parametrize("end", [nn.Sigmoid(), nn.Softmax(1), nn.LogSoftmax(1)])
    def test_deeplift_is_complete(self, end):
        net, x = classifier(bias=True, end=end), image()
        found = viztool.attribute(net, x, "deeplift", 1, baseline="blur")
        assert found.details["completeness"]["of"] == "f(x) − f(baseline)"
        assert max(found.details["completeness"]["error"]) < 1e-5

    def test_a_certain_network_has_a_map(self):
        """Where the softmax is saturated, its derivative is 0."""
        net, x = classifier(end=nn.Softmax(1)), image(1)
        net[-2].weight.data *= 1e6
        with torch.no_grad():
            says = net(x)[0]
        target = int(says.argmax())
        assert float(says[target]) == 1
        assert not viztool.attribute(net, x, "gradient", target).raw.any()
        for method in (*LRP, "deeplift"):
            assert viztool.attribute(net, x, method, target).raw.any()

    def test_sigmoids_as_activation_functions(self):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sigmoid(), nn.Flatten(), nn.Linear(400, 2, bias=False))
        x = image()
        found = viztool.attribute(net, x, "lrp_epsilon", 1, epsilon=0.0)
        leaf = x.clone().requires_grad_()
        z = net[0](leaf)
        share = ((z.sigmoid() - 0.5) / z).detach()
        net[3]((z * share).flatten(1))[:, 1].sum().backward()
        close(found.raw, (leaf.grad * x).sum(1))


GATED = {
    "times": lambda x, gate: x * gate,
    "gate first": lambda x, gate: gate * x,
    "in place": lambda x, gate: x.mul_(gate),
    "in place on the gate": lambda x, gate: gate.mul_(x),
    "einsum": lambda x, gate: torch.einsum("nchw,nchw->nchw", x, gate),
    "gates alone first": lambda x, gate: (gate * gate) * x,
    "moved and scaled": lambda x, gate: x * (2 * gate.flatten(1)).clamp(max=3).view_as(gate),
    "by a quotient": lambda x, gate: x / gate,
}


class TestGates:
    """What a sigmoid or a softmax gives is a constant where a signal is multiplied by it, however that is written."""

    @pytest.mark.parametrize("form", list(GATED))
    @pytest.mark.parametrize("in_place", [False, True])
    def test_the_signal_takes_all(self, form, in_place):
        class Gating(nn.Module):
            def __init__(self):
                super().__init__()
                self.signal = nn.Conv2d(3, 4, 3, bias=False)
                self.gate = nn.Conv2d(3, 4, 3)
                self.fc = nn.Linear(4, 3, bias=False)
                self.held = None

            def forward(self, x):
                gate = self.gate(x)
                gate = gate.sigmoid_() if in_place else gate.sigmoid()
                gate = gate if self.held is None else self.held.clone()
                return self.fc(GATED[form](self.signal(x), gate).mean((2, 3)))

        torch.manual_seed(1)
        net, x = Gating().eval(), image()
        found = viztool.attribute(net, x, "lrp_epsilon", 1, epsilon=0.0)
        with torch.no_grad():
            net.held = net.gate(x).sigmoid()
        leaf = x.clone().requires_grad_()
        net(leaf)[:, 1].sum().backward()
        close(found.raw, (leaf.grad * x).sum(1), 1e-3)
        assert found.details["conservation"]["of"] == "f(x)"

    def test_attention_is_held_fixed(self):
        class Attending(nn.Module):
            def __init__(self):
                super().__init__()
                self.qkv = nn.Linear(3, 24, bias=False)
                self.fc = nn.Linear(8, 3, bias=False)

            def forward(self, x, held=None):
                q, k, v = self.qkv(x.flatten(2).mT).chunk(3, -1)
                attention = (q @ k.mT).softmax(-1) if held is None else held
                return self.fc((attention @ v).mean(1))

        torch.manual_seed(1)
        net, x = Attending().eval(), image()
        found = viztool.attribute(net, x, "lrp_epsilon", 1, epsilon=0.0)
        with torch.no_grad():
            q, k, _ = net.qkv(x.flatten(2).mT).chunk(3, -1)
            held = (q @ k.mT).softmax(-1)
        leaf = x.clone().requires_grad_()
        net(leaf, held)[:, 1].sum().backward()
        close(found.raw, (leaf.grad * x).sum(1), 1e-3)
