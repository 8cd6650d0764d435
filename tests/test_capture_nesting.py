"""Other people's hooks, exceptions, stops, and captures inside one another."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from capture_nets import Lambda, Net
from capture_oracle import cloned_outputs, equal_states, retained_gradients, same, state_of
from torch import Tensor, nn

from viztool.hooks import capture


def test_user_hooks_before_inside_and_after_survive_and_what_they_put_out_is_the_output() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    x = torch.randn(2, 1, 5, 5, requires_grad=True)
    fired: list[str] = []
    net[0].register_forward_hook(lambda _, args, output: fired.append("before") or output * 2)
    net[0].register_forward_pre_hook(lambda *_: fired.append("pre"))
    for layer in net:
        layer.register_full_backward_hook(lambda *_: fired.append("backward"))
    expected = F.conv2d(x, net[0].weight, net[0].bias) * 2
    with capture(net, "0", grads=True) as acts:
        inside = net[0].register_forward_hook(lambda _, args, output: fired.append("inside") or output + 1)
        output = net(x)
    assert fired == ["pre", "before", "inside"]
    assert same(acts["0"], expected)
    assert same(output, (expected + 1).relu())
    output.sum().backward()
    assert fired == ["pre", "before", "inside", "backward", "backward"]
    assert same(acts.grad("0"), (expected + 1 > 0).float())
    net(x)
    assert fired[5:] == ["pre", "before", "inside"]
    inside.remove()
    assert same(net(x), expected.relu())
    assert len(net[0]._forward_hooks) == 1


@pytest.mark.parametrize("inner_stops", [False, True])
def test_nested_captures_do_not_mix(inner_stops: bool) -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True), nn.Conv2d(2, 1, 3))
    x = torch.randn(2, 1, 9, 9)
    expected = cloned_outputs(net, lambda: net(x))
    with capture(net, ["0", "1"], grads=True) as outer:
        with capture(net, ["0", "1"], grads=True, stop=inner_stops) as inner:
            net(x).sum().backward()
        assert inner.stopped_at == ("1" if inner_stops else None)
        net(x).sum().backward()
    for layer in ("0", "1"):
        assert same(inner.calls(layer), expected[layer])
        assert same(outer.calls(layer), expected[layer] * 2)
    wanted = retained_gradients(net, lambda plain: plain(x).sum())
    for layer in ("0", "1"):
        assert same(outer.grad(layer, 1), wanted[layer][0])
        if not inner_stops:
            assert same(inner.grad(layer), wanted[layer][0])
            assert same(outer.grad(layer, 0), wanted[layer][0])


def test_the_outer_stop_ends_both_blocks() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    reached = []
    with capture(net, "0", stop=True) as outer:
        with capture(net, "1"):
            net(torch.ones(1, 2))
            reached.append("inner")
        reached.append("outer")
    assert reached == []
    assert outer.layers == ["0"]
    assert not net[0]._forward_hooks
    assert not net[1]._forward_hooks


def test_an_exception_in_the_forward_comes_out_as_it_is_and_what_ran_is_kept() -> None:
    class OwnError(Exception):
        pass

    def fail(x: Tensor) -> Tensor:
        raise OwnError("of the network's own")

    net = nn.Sequential(nn.Conv2d(1, 2, 3), Lambda(fail))
    x = torch.randn(1, 1, 5, 5)
    before = state_of(net)
    with capture(net, "0") as acts:
        with pytest.raises(OwnError, match=r"^of the network's own$"):
            net(x)
        assert same(acts["0"], net[0](x))
    with pytest.raises(OwnError, match=r"^of the network's own$"), capture(net):
        net(x)
    assert equal_states(state_of(net), before)


def test_a_networks_own_except_exception_does_not_swallow_the_stop() -> None:
    def run(net: Any, x: Tensor) -> Tensor:
        try:
            x = net.a(x)
        except Exception:
            x = torch.zeros(1)
        return net.b(x)

    calls = []
    net = Net(run, a=nn.Linear(2, 2), b=Lambda(lambda x: calls.append(1)))
    with capture(net, "a", stop=True):
        net(torch.ones(1, 2))
    assert calls == []


def test_stop_with_a_layer_called_twice_gives_the_calls_before_it_and_says_where() -> None:
    ran: list[str] = []
    net = Net(lambda net, x: net.b(net.a(net.b(net.a(x)))), a=nn.Linear(2, 2), b=nn.Linear(2, 2))
    for name, layer in net.named_children():
        layer.register_forward_pre_hook(lambda *_, name=name: ran.append(name))
    with capture(net, "a", stop=True) as once:
        net(torch.ones(1, 2))
    assert ran == ["a"]
    assert len(once.calls("a")) == 1
    ran.clear()
    net.run = lambda net, x: net.b(net.a(net.a(x)))
    with capture(net, ["a", "b"], stop=True) as both:
        net(torch.ones(1, 2))
    assert (len(both.calls("a")), len(both.calls("b")), both.stopped_at) == (2, 1, "b")


def test_a_module_with_two_names_is_found_under_each() -> None:
    shared = nn.Linear(2, 2)
    net = Net(lambda net, x: net.second(net.first(x)), first=shared, second=shared)
    x = torch.randn(3, 2)
    calls = [shared(x), shared(shared(x))]
    with capture(net, ["second", "first"]) as acts:
        net(x)
    assert same(acts.calls("first"), calls)
    assert same(acts.calls("second"), calls)
    assert acts.layers == ["first", "second"]
    with capture(net) as acts:
        net(x)
    assert acts.layers == ["first"]
    with capture(net, "second", stop=True) as acts:
        net(x)
    assert acts.stopped_at == "second"
    assert same(acts.calls("second"), calls[:1])


def test_a_layer_that_calls_itself() -> None:
    class Again(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x: Tensor, depth: int) -> Tensor:
            return self.relu(x + 1) if depth == 0 else self(x, depth - 1) * 2

    net, x = Again(), torch.randn(3)
    with capture(net, ["", "relu"]) as acts:
        net(x, 2)
    inner = (x + 1).relu()
    assert same(acts.calls(""), [inner, inner * 2, inner * 4])
    assert same(acts.calls("relu"), [inner])
