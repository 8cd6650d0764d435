"""The gradient at a layer is autograd's own, whatever mode the network and the caller are in."""

import pytest
import torch
import torchvision
from torch import nn

import viztool
from viztool.errors import LayerError
from viztool.hooks.tail import TailPass

torch.manual_seed(0)


class Shared(nn.Module):
    """One in-place ReLU at three places, a skip, a functional tail, and a dict for an output."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        x = self.relu(self.first(x))
        x = self.relu(self.second(x) + x)
        x = x + 0.5
        x = self.relu(x)
        return {"logits": self.head(x.mean((2, 3))), "mask": None}


def by_autograd(net, x, layer, score):
    """The gradient by plain autograd: the layer's output is replaced by a leaf, in a hook of the test's own."""
    leaf = {}

    def replace(module, args, output):
        leaf["leaf"] = output.detach().clone().requires_grad_()
        return leaf["leaf"].clone()

    handle = dict(net.named_modules())[layer].register_forward_hook(replace)
    try:
        with torch.enable_grad():
            value = score(net(x)).sum()
    finally:
        handle.remove()
    return leaf["leaf"].detach(), torch.autograd.grad(value, leaf["leaf"])[0]


NETWORKS = {
    "resnet18": ("layer3", 64),
    "densenet121": ("features.denseblock2", 64),
    "mobilenet_v3_small": ("features.6", 64),
    "googlenet": ("inception4a", 64),
    "convnext_tiny": ("features.3", 64),
    "vgg11": ("features.5", 64),
}


@pytest.mark.filterwarnings("ignore:The default weight initialization")
@pytest.mark.parametrize("name", NETWORKS)
def test_it_is_autograds(name):
    layer, size = NETWORKS[name]
    net = torchvision.models.get_model(name, weights=None).eval()
    x = torch.randn(2, 3, size, size)
    activation, gradient = by_autograd(net, x, layer, lambda output: output[:, 7])
    run = TailPass(net, x, layer)
    assert torch.equal(run.activations[layer], activation)
    assert torch.equal(run.gradients(run.output[:, 7])[layer], gradient)


def frozen(net):
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    return net


class TestModes:
    X = torch.randn(3, 3, 12, 12)

    @staticmethod
    def score(output):
        return output["logits"][:, 2]

    @pytest.fixture
    def net(self):
        torch.manual_seed(1)
        return Shared().eval()

    @pytest.fixture
    def expected(self, net):
        return by_autograd(net, self.X, "second", self.score)[1]

    def gradient(self, net, x):
        run = TailPass(net, x, "second")
        with torch.enable_grad():
            return run.gradients(self.score(run.output))["second"]

    @pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad])
    def test_under_either_grad_mode(self, net, expected, mode):
        with mode():
            assert torch.equal(self.gradient(net, self.X), expected)

    def test_in_inference_mode(self, net, expected):
        with torch.inference_mode():
            x = self.X * 1
            run = TailPass(net, x, "second")
            with torch.inference_mode(False), torch.enable_grad():
                assert torch.equal(run.gradients(self.score(run.output))["second"], expected)

    def test_frozen(self, net, expected):
        assert torch.equal(self.gradient(frozen(net), self.X), expected)

    def test_half_precision(self, net, expected):
        gradient = self.gradient(net.bfloat16(), self.X.bfloat16())
        assert gradient.dtype == torch.bfloat16
        # Not place by place: where a value is next to zero, the ReLU behind it falls on the other side.
        assert torch.cosine_similarity(gradient.float().flatten(), expected.flatten(), dim=0) > 0.99

    def test_a_batch_is_what_its_images_are(self, net, expected):
        for index in range(len(self.X)):
            torch.testing.assert_close(self.gradient(net, self.X[index : index + 1]), expected[index : index + 1])

    def test_the_last_call_of_a_shared_layer_counts(self, net):
        run = TailPass(net, self.X, "relu")
        gradient = run.gradients(self.score(run.output))["relu"]
        weight = net.head.weight[2] / 144
        torch.testing.assert_close(gradient, weight[None, :, None, None].expand_as(gradient))

    def test_several_layers_and_several_scores_of_one_forward(self, net, expected):
        run = TailPass(net, self.X, ["first", "second"])
        one = run.gradients(run.output["logits"][:, 2], last=False)
        other = run.gradients(run.output["logits"][:, 0])
        assert list(one) == ["first", "second"]
        torch.testing.assert_close(one["second"], expected)
        assert not torch.allclose(one["first"], other["first"])
        torch.testing.assert_close(one["first"], by_autograd(net, self.X, "first", self.score)[1])

    def test_no_graph_is_built_before_the_layer_or_for_parameters(self, net):
        run = TailPass(net, self.X, "second")
        leaves, stack = set(), [run.output["logits"].grad_fn]
        while stack:
            node = stack.pop()
            if hasattr(node, "variable"):
                leaves.add(id(node.variable))
            stack += [following for following, _ in node.next_functions if following is not None]
        assert len(leaves) == 1
        assert leaves.isdisjoint(id(parameter) for parameter in net.parameters())


class TestNetworkIsLeftAlone:
    @pytest.mark.parametrize("fails", [False, True])
    def test_flags_gradients_modes_and_hooks(self, fails):
        net = Shared()
        net.second.weight.requires_grad_(False)
        net.first.weight.grad = torch.ones_like(net.first.weight)
        flags = [parameter.requires_grad for parameter in net.parameters()]
        x = torch.randn(1, 3, 8, 8)
        if fails:
            with pytest.raises(RuntimeError):
                TailPass(net, x[:, :2], "second")
        else:
            run = TailPass(net, x, "second")
            run.gradients(run.output["logits"][:, 0])
        assert [parameter.requires_grad for parameter in net.parameters()] == flags
        assert (net.first.weight.grad == 1).all()
        assert net.head.weight.grad is None
        assert all(module.training for module in net.modules())
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


class TestErrors:
    NET = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))

    def test_a_score_that_does_not_depend_on_the_layer(self):
        run = TailPass(self.NET, torch.randn(1, 3, 8, 8), "3")
        with pytest.raises(LayerError, match=r"^the score does not depend on layer '3'; choose one that"):
            run.gradients(torch.ones(1))

    def test_an_activation_without_maps(self):
        run = TailPass(self.NET, torch.randn(1, 3, 8, 8), ["0", "3"])
        assert run.as_maps("0", run.activations["0"]).shape == (1, 4, 6, 6)
        with pytest.raises(LayerError, match=r"^layer '3' puts out no maps \(channels of height × width\); choose a"):
            run.as_maps("3", run.activations["3"])

    def test_an_unknown_layer(self):
        with pytest.raises(LayerError, match=r"^no layer matches 'conv'; nearest: "):
            TailPass(self.NET, torch.randn(1, 3, 8, 8), "conv")

    def test_it_takes_a_model(self):
        model = viztool.wrap_model(self.NET, size=8)
        run = TailPass(model, torch.randn(1, 3, 8, 8), "0")
        assert run.gradients(run.output[:, 1])["0"].shape == (1, 4, 6, 6)
