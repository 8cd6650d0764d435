"""What works in place, before, in or after a layer, does not reach what was captured of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from capture_nets import GRAD_MODES, Lambda, Net, message_of
from capture_oracle import cloned_outputs, equal_states, retained_gradients, same, state_of
from torch import Tensor, nn

from viztool.hooks import capture


@pytest.mark.parametrize("mode", GRAD_MODES)
@pytest.mark.parametrize(
    "overwrite", [F.relu_, lambda t: t.add_(1), lambda t: t.zero_(), lambda t: t.copy_(torch.ones_like(t)), F.silu]
)
def test_what_comes_next_in_place_does_not_reach_the_capture(
    mode: Callable[[], Any], overwrite: Callable[[Tensor], Tensor]
) -> None:
    net = Net(lambda net, x: overwrite(net.conv(x)) * 2, conv=nn.Conv2d(1, 2, 3))
    x = torch.randn(2, 1, 5, 5)
    with mode(), capture(net, "conv") as acts:
        output = net(x)
    assert same(acts["conv"], net.conv(x))
    assert same(output, net(x))


@pytest.mark.parametrize("mode", GRAD_MODES)
def test_a_relu_shared_by_three_call_sites_has_three_outputs_each_with_its_gradient(mode: Callable[[], Any]) -> None:
    net = Net(
        lambda net, x: net.relu(net.c(net.relu(net.b(net.relu(net.a(x)))))),
        a=nn.Conv2d(1, 2, 3),
        b=nn.Conv2d(2, 3, 3),
        c=nn.Conv2d(3, 4, 3),
        relu=nn.ReLU(inplace=True),
    )
    x = torch.randn(2, 1, 9, 9)
    expected = cloned_outputs(net, lambda: net(x))["relu"]
    grads = mode is torch.enable_grad
    with mode(), capture(net, "relu", grads=grads) as acts:
        output = net(x)
    assert [tuple(each.shape) for each in acts.calls("relu")] == [(2, 2, 7, 7), (2, 3, 5, 5), (2, 4, 3, 3)]
    assert same(acts.calls("relu"), expected)
    assert same(acts["relu"], expected[-1])
    if grads:
        wanted = retained_gradients(net, lambda plain: plain(x).square().sum())["relu"]
        output.square().sum().backward()
        assert same([acts.grad("relu", call) for call in range(3)], wanted)
        assert same(acts.grad("relu"), wanted[-1])
        assert same(acts.grad("relu", -3), wanted[0])


ALIASES = {
    "Identity": nn.Identity(),
    "Dropout in evaluation mode": nn.Dropout().eval(),
    "Flatten": nn.Flatten(),
    "a view": Lambda(lambda x: x.view(x.shape[0], -1)),
    "a slice": Lambda(lambda x: x[:, :1]),
    "a transpose": Lambda(lambda x: x.transpose(1, 2)),
}


@pytest.mark.parametrize(
    ("mode", "grads"), [(torch.no_grad, False), (torch.enable_grad, False), (torch.enable_grad, True)]
)
@pytest.mark.parametrize("what", ALIASES)
def test_a_tensor_under_two_names_changed_by_the_other_name(what: str, mode: Callable[[], Any], grads: bool) -> None:

    def run(net: Any, x: Tensor) -> Tensor:
        h = net.conv(x)
        other = net.alias(h)
        h.add_(1)  # the network goes on with `other`, which has changed as well
        return other * 2

    net = Net(run, conv=nn.Conv2d(1, 2, 3), alias=ALIASES[what])
    x = torch.randn(2, 1, 5, 5)
    expected = cloned_outputs(net, lambda: net(x))
    plain = net(x)
    with mode(), capture(net, grads=grads) as acts:
        output = net(x)
    assert same(acts["conv"], expected["conv"][0])
    assert same(acts["alias"], expected["alias"][0])
    assert same(output, plain)


@pytest.mark.parametrize("mode", GRAD_MODES)
@pytest.mark.parametrize("what", ALIASES)
def test_a_tensor_under_two_names_changed_by_the_layers_own(what: str, mode: Callable[[], Any]) -> None:
    def run(net: Any, x: Tensor) -> Tensor:
        h = net.conv(x)
        net.alias(h).add_(1)
        return h * 2

    net = Net(run, conv=nn.Conv2d(1, 2, 3), alias=ALIASES[what])
    x = torch.randn(2, 1, 5, 5)
    expected = cloned_outputs(net, lambda: net(x))
    plain = net(x)
    with mode(), capture(net) as acts:
        output = net(x)
    assert same(acts["alias"], expected["alias"][0])
    assert same(acts["conv"], expected["conv"][0])
    assert same(output, plain)


@pytest.mark.parametrize("grads", [False, True])
@pytest.mark.parametrize("layers", [None, "minus", "plus"])
def test_layers_in_place_one_after_the_other(layers: str | None, grads: bool) -> None:
    net = Net(
        lambda net, x: net.plus(net.minus(net.conv(x))).mul_(3),
        conv=nn.Conv2d(1, 2, 3),
        minus=Lambda(lambda x: x.neg_()),
        plus=Lambda(lambda x: x.add_(1)),
    )
    x = torch.randn(2, 1, 5, 5)
    h = net.conv(x)
    expected = {"conv": h, "minus": -h, "plus": 1 - h}
    with capture(net, layers, grads=grads) as acts:
        output = net(x)
    assert same(output, (1 - h) * 3)
    assert all(same(acts[layer], expected[layer]) for layer in acts)
    if grads:
        output.sum().backward()
        gradients = {"conv": -3.0, "minus": 3.0, "plus": 3.0}
        assert all(same(acts.grad(layer), torch.full_like(h, gradients[layer])) for layer in acts)


def test_a_skip_around_an_inplace_relu_is_part_of_its_gradient() -> None:
    # As in the residual units of depth networks: `x` is the ReLU's output by another name.
    net = Net(lambda net, x: net.tail(h := net.stem(x)) + h, stem=nn.Conv2d(1, 2, 3), tail=nn.Sequential())
    net.tail = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(2, 2, 1))
    x = torch.randn(2, 1, 5, 5)
    with capture(net, "tail.0", grads=True) as acts:
        output = net(x)
        output.square().sum().backward()
    rectified = net.stem(x).relu().detach().requires_grad_()
    (net.tail[1](rectified) + rectified).square().sum().backward()
    assert same(acts["tail.0"], rectified)
    assert same(acts.grad("tail.0"), rectified.grad)


def test_a_layer_that_works_in_place_and_whose_input_is_written_later_is_refused_not_wrong() -> None:
    def run(net: Any, x: Tensor) -> Tensor:
        h = net.conv(x)
        net.relu(h)
        return h.add_(1) * 2

    net = Net(run, conv=nn.Conv2d(1, 2, 3), relu=nn.ReLU(inplace=True))
    x = torch.randn(2, 1, 5, 5)
    plain = net(x)
    with capture(net, ["conv", "relu"]) as acts:
        output = net(x)
    assert same(output, plain)
    assert same(acts["conv"], net.conv(x))
    assert message_of(lambda: acts["relu"]) == (
        "the output of layer 'relu' was overwritten in place after it was captured; "
        "capture it with copy=True and detach=True, or clone it before you change it"
    )
    with capture(net, ["conv", "relu"], detach=True) as copies:
        assert same(net(x), plain)
    assert same(copies["relu"], net.conv(x).relu())


@pytest.mark.parametrize("grads", [False, True])
def test_a_residual_sum_in_place(grads: bool) -> None:
    def run(net: Any, x: Tensor) -> Tensor:
        out = net.bn(net.conv(x))
        out += net.skip(x)
        return net.relu(out)

    net = Net(run, conv=nn.Conv2d(2, 2, 1), bn=nn.BatchNorm2d(2), skip=nn.Identity(), relu=nn.ReLU(inplace=True)).eval()
    x = torch.randn(2, 2, 5, 5)
    expected = cloned_outputs(net, lambda: net(x))
    with capture(net, grads=grads) as acts:
        output = net(x)
    for layer in expected:
        assert same(acts[layer], expected[layer][0]), layer
    if grads:
        wanted = retained_gradients(net, lambda plain: plain(x).square().sum())
        output.square().sum().backward()
        for layer in ("conv", "bn", "relu"):
            assert same(acts.grad(layer), wanted[layer][0]), layer
        assert same(acts.grad("skip"), acts.grad("bn"))


class Keeps(nn.Module):
    """Keeps its output, and changes it at the next call or when told."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.state: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.state is not None:
            with torch.no_grad():
                self.state.zero_()
        self.state = self.conv(x)
        return self.state


@pytest.mark.parametrize("mode", GRAD_MODES)
def test_a_module_that_keeps_its_output_and_changes_it_later(mode: Callable[[], Any]) -> None:
    net, x = Keeps(), torch.randn(3, 1, 5, 5)
    with mode(), capture(net, ["conv", ""]) as acts:
        net(x)
        net(2 * x)
    for layer in ("conv", ""):
        assert same(acts.calls(layer), [net.conv(x), net.conv(2 * x)])


def test_a_module_that_gives_its_parameter_or_its_buffer() -> None:
    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(2, 3))
            self.register_buffer("position", torch.randn(2, 3))

        def forward(self, which: str) -> Tensor:
            return getattr(self, which)

    table = Table()
    before = state_of(table)
    for which in ("weight", "position"):
        for options in ({}, {"grads": True}, {"grads": True, "copy": False}):
            net = Net(lambda net, x, which=which: net.table(which) * x, table=table)
            with capture(net, "table", **options) as acts:
                output = net(torch.ones(2, 3))
            assert torch.equal(acts["table"], getattr(table, which))
            if options.get("grads"):
                (gradient,) = torch.autograd.grad(output.square().sum(), acts["table"])
                assert torch.equal(gradient, 2 * getattr(table, which))
                assert torch.equal(acts.grad("table"), gradient)
            assert getattr(table, which)._backward_hooks in (None, {})
    assert equal_states(state_of(table), before)
