"""A replay is the network's own forward, from one layer on."""

import threading

import pytest
import torch
import torchvision
from torch import nn

from viztool.errors import LayerError
from viztool.hooks.replay import Replay

ARCHITECTURES = {
    "resnet18": ["relu", "layer2.1.bn1", "layer4", "avgpool"],
    "resnet50": ["layer1.0.downsample.0", "layer3.2.conv2"],
    "densenet121": ["features.denseblock1.denselayer3.conv2", "features.transition2"],
    "googlenet": ["inception3b.branch3.0", "inception4c"],
    "vgg11": ["features.3", "classifier.1"],
    "mobilenet_v3_small": ["features.4.block.2", "features.6"],
    "efficientnet_b0": ["features.3.0.block.2"],
    "shufflenet_v2_x1_0": ["stage2.1.branch2", "stage3"],
    "squeezenet1_1": ["features.6.expand1x1"],
    "convnext_tiny": ["features.3.1.block.3", "features.5"],
    "swin_t": ["features.3"],
    "regnet_y_400mf": ["trunk_output.block2"],
}


def replaced(net, x, layer, activation):
    """The plain forward, with a hook of the test's own in the layer's place."""
    handle = dict(net.named_modules())[layer].register_forward_hook(lambda module, args, output: activation)
    try:
        return net(x)
    finally:
        handle.remove()


@pytest.mark.filterwarnings("ignore:The default weight initialization")
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_bit_for_bit_the_full_forward(name):
    torch.manual_seed(0)
    net = torchvision.models.get_model(name, weights=None).eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        output = net(x)
        for layer in ARCHITECTURES[name]:
            rest = Replay(net, x, layer)
            assert torch.equal(rest.output, output)
            assert torch.equal(rest(rest.activations), output)
            changed = rest.activations * 0.5 - 0.1
            assert torch.equal(rest(changed), replaced(net, x, layer, changed.clone()))
            assert torch.equal(rest(rest.activations), output), "a replay leaves the record as it was"
    assert not any("forward" in vars(module) for module in net.modules())


class Net(nn.Module):
    """A shared in-place ReLU, a skip past the layer, a functional step, and a head that works in place."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.body = nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        skip = self.relu(self.stem(x))
        y = self.body(skip)
        skip += 1
        return self.head(self.relu(torch.tanh(y) + skip).mean((2, 3)))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net().eval()


class TestManyAtOnce:
    @pytest.mark.parametrize("batch", [1, 2])
    def test_k_batches_are_k_replays(self, net, batch):
        rest = Replay(net, torch.randn(batch, 3, 8, 8), "body")
        changes = [torch.randn_like(rest.activations) for _ in range(5)]
        together = rest(torch.cat(changes))
        apart = torch.cat([rest(change) for change in changes])
        torch.testing.assert_close(together, apart)

    def test_another_number_is_an_error(self, net):
        rest = Replay(net, torch.randn(2, 3, 8, 8), "body")
        with pytest.raises(
            LayerError,
            match=r"^activations of \(3, 4, 8, 8\) do not stand for those of \(2, 4, 8, 8\); only",
        ):
            rest(torch.randn(3, 4, 8, 8))


def test_gradients_reach_the_changed_activations(net):
    x = torch.randn(1, 3, 8, 8)
    rest = Replay(net, x, "body")
    changed = torch.randn_like(rest.activations).requires_grad_()
    (gradient,) = torch.autograd.grad(rest(changed)[:, 1].sum(), changed)
    leaf = changed.detach().clone().requires_grad_()
    (expected,) = torch.autograd.grad(replaced(net, x, "body", leaf * 1)[:, 1].sum(), leaf)
    assert torch.equal(gradient, expected)


@pytest.mark.parametrize("times", [1, 3])
def test_what_comes_next_may_work_in_place(times):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 2, 3), nn.Sigmoid()).eval()
    x = torch.randn(2, 3, 9, 8)
    put_out = net[0](x).detach()
    rest = Replay(net, x, "0")
    assert torch.equal(rest.activations, put_out)
    given = torch.cat([put_out * factor for factor in range(1, times + 1)])
    kept = given.clone()
    with torch.no_grad():
        found = rest(given)
        assert torch.equal(given, kept)
        assert torch.equal(rest.activations, put_out)
        assert torch.allclose(found, net[1:](kept.clone()), atol=1e-7)


def test_the_last_call_of_a_shared_layer_is_replaced(net):
    rest = Replay(net, torch.randn(1, 3, 8, 8), "relu")
    changed = torch.randn_like(rest.activations)
    torch.testing.assert_close(rest(changed), net.head(changed.mean((2, 3))))


def test_only_what_comes_after_runs(net):
    rest = Replay(net, torch.randn(1, 3, 8, 8), "body")
    ran = []
    forward = nn.Conv2d.forward
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.Conv2d, "forward", lambda module, x: ran.append(module) or forward(module, x))
        rest(rest.activations)
    assert ran == []


def test_another_thread_gets_its_own_forward(net):
    x = torch.randn(1, 3, 8, 8)
    rest = Replay(net, x, "body")
    other = torch.randn(1, 3, 8, 8)
    expected, seen = net(other), []
    tanh = torch.tanh

    def during(y):
        if threading.current_thread() is threading.main_thread():
            worker = threading.Thread(target=lambda: seen.append(net(other)))
            worker.start()
            worker.join()
        return tanh(y)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "tanh", during)
        rest(rest.activations)
    assert torch.equal(seen[0], expected)


@pytest.mark.parametrize("fails", [False, True])
def test_the_network_is_left_alone(net, fails):
    own = net.relu.forward
    net.relu.forward = own  # a forward that somebody has set stays theirs
    rest = Replay(net, torch.randn(1, 3, 8, 8), "stem")
    if fails:
        with pytest.raises(RuntimeError), pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch, "tanh", lambda y: torch.zeros(1, 9) @ torch.zeros(3))
            rest(rest.activations)
    else:
        rest(rest.activations)
    assert [name for name, module in net.named_modules() if "forward" in vars(module)] == ["relu"]
    assert net.relu.forward is own
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


class TestErrors:
    def test_several_layers(self, net):
        with pytest.raises(LayerError, match=r"^'type:Conv2d' picks 2 layers, 'stem' and others; a replay is of one$"):
            Replay(net, torch.randn(1, 3, 8, 8), "type:Conv2d")

    def test_a_layer_that_does_not_run(self, net):
        net.unused = nn.ReLU()
        with pytest.raises(LayerError, match=r"^layer 'unused' did not run; a replay needs one that does$"):
            Replay(net, torch.randn(1, 3, 8, 8), "unused")
