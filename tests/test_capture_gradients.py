"""Gradients at captured layers, and through captured tensors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from capture_nets import Lambda, Net, captured, message_of
from capture_oracle import cloned_outputs, equal_states, retained_gradients, same, state_of
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from viztool.hooks import capture


def test_a_frozen_network_has_gradients_too_and_stays_frozen() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True), nn.Conv2d(2, 1, 3))
    x = torch.randn(2, 1, 7, 7)
    wanted = retained_gradients(net, lambda plain: plain(x).square().sum())
    net.requires_grad_(False)
    before = state_of(net)
    with capture(net, grads=True) as acts:
        net(x).square().sum().backward()
    for layer, gradients in wanted.items():
        assert same(acts.grad(layer), gradients[0]), layer
    assert equal_states(state_of(net), before)
    assert not x.requires_grad


def test_an_output_that_is_the_input_of_a_frozen_network_does_not_change_the_input() -> None:
    net = nn.Sequential(nn.Identity(), nn.Conv2d(1, 2, 3)).requires_grad_(False)
    x = torch.randn(2, 1, 7, 7)
    with capture(net, "0", grads=True) as acts:
        net(x).sum().backward()
    assert not x.requires_grad
    assert x.grad_fn is None
    assert same(acts["0"], x)
    assert acts.grad("0").shape == x.shape
    leaf = x.clone().requires_grad_()
    with capture(net, "0", grads=True, copy=False) as acts:
        net(leaf).sum().backward()
    assert not leaf._backward_hooks
    assert same(acts.grad("0"), leaf.grad)


def test_an_input_made_in_inference_mode_goes_through_a_frozen_network() -> None:
    net = nn.Sequential(nn.Identity(), nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True)).requires_grad_(False)
    with torch.inference_mode():
        x = torch.randn(2, 1, 7, 7)
    with capture(net, grads=True) as acts:
        net(x).sum().backward()
    assert same(acts["0"], x)
    positive = (F.conv2d(x, net[1].weight, net[1].bias) > 0).float()
    assert same(acts.grad("1"), positive)
    torch.testing.assert_close(acts.grad("0"), F.conv_transpose2d(positive, net[1].weight))


def test_an_input_that_may_not_be_changed_in_place_goes_on_as_a_copy() -> None:
    net = nn.Sequential(nn.Identity(), nn.ReLU(inplace=True))
    values = torch.randn(2, 3)
    with torch.inference_mode():
        inference = values.clone()
    for x in (values.clone().requires_grad_(), inference):
        with capture(net, "0", grads=True) as acts:
            output = net(x)
        assert same(output, values.relu())
        assert same(acts["0"], values)
        assert same(x, values)


def test_copy_false_on_a_frozen_network_shares_memory_and_refuses_what_was_overwritten() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True)).requires_grad_(False)
    x = torch.randn(2, 1, 7, 7)
    with capture(net, copy=False, grads=True) as acts:
        output = net(x)
        output.sum().backward()
    assert acts["1"].data_ptr() == output.data_ptr()
    assert same(acts["1"], net[0](x).relu())
    assert same(acts.grad("0"), (net[0](x) > 0).float())
    assert message_of(lambda: acts["0"]).startswith("the output of layer '0' was overwritten in place")


def test_each_backward_pass_replaces_the_gradient_of_the_one_before() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True))
    x = torch.randn(2, 1, 5, 5)
    with capture(net, "0", grads=True) as acts:
        output = net(x)
    output[:, 0].sum().backward(retain_graph=True)
    first = acts.grad("0")
    output[:, 1].sum().backward()
    positive = (net[0](x) > 0).float()
    assert torch.equal(first, positive * torch.tensor([1.0, 0.0]).view(1, 2, 1, 1))
    assert torch.equal(acts.grad("0"), positive * torch.tensor([0.0, 1.0]).view(1, 2, 1, 1))


def test_gradients_of_gradients_go_through_captured_tensors() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    x = torch.randn(5, 3, dtype=torch.float64)

    def curvature(hidden: Tensor, score: Tensor) -> Tensor:
        (gradient,) = torch.autograd.grad(score, hidden, create_graph=True)
        (second,) = torch.autograd.grad(gradient.square().sum(), hidden, retain_graph=True)
        return second

    hidden = net[0](x)
    expected = curvature(hidden, net[2](hidden.tanh()).pow(3).sum())
    with capture(net, "0", grads=True) as acts:
        score = net(x).pow(3).sum()
    assert torch.equal(curvature(acts["0"], score), expected)
    (gradient,) = torch.autograd.grad(score, acts["0"], create_graph=True)
    assert torch.equal(acts.grad("0"), gradient)
    penalty = acts.grad("0").square().sum()
    hidden = net[0](x)
    (wanted,) = torch.autograd.grad(net[2](hidden.tanh()).pow(3).sum(), hidden, create_graph=True)
    for mine, theirs in zip(
        torch.autograd.grad(penalty, list(net.parameters())[:3]),
        torch.autograd.grad(wanted.square().sum(), list(net.parameters())[:3]),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs)


def test_a_loss_on_several_layers_reaches_the_weights_as_without_hooks() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True), nn.Conv2d(2, 2, 3), nn.ReLU(inplace=True))
    x = torch.randn(2, 1, 9, 9)
    a = net[0](x)
    b = net[2](a.relu())
    expected = torch.autograd.grad(a.square().sum() + b.relu().sum() + a.mul(b.mean()).sum(), list(net.parameters()))
    with capture(net, ["0", "2", "3"]) as acts:
        net(x)
    loss = acts["0"].square().sum() + acts["3"].sum() + acts["0"].mul(acts["2"].mean()).sum()
    for mine, theirs in zip(torch.autograd.grad(loss, list(net.parameters())), expected, strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_layers_that_checkpointing_runs_again_count_once(use_reentrant: bool) -> None:
    def run(net: Any, x: Tensor) -> Tensor:
        return net.tail(checkpoint(net.body, net.stem(x), use_reentrant=use_reentrant))

    net = Net(
        run,
        stem=nn.Conv2d(1, 2, 3),
        body=nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(inplace=True), nn.Conv2d(3, 2, 3)),
        tail=nn.Conv2d(2, 1, 3),
    )
    x = torch.randn(2, 1, 11, 11)
    expected = cloned_outputs(net, lambda: net(x))
    weights = list(net.parameters())
    net(x).square().sum().backward()
    plain = [weight.grad.clone() for weight in weights if weight.grad is not None]
    net.zero_grad()
    with capture(net) as acts:
        net(x).square().sum().backward()
    for layer, calls in expected.items():
        assert same(acts.calls(layer), calls), layer
    assert same([weight.grad for weight in weights], plain)

    if use_reentrant:
        assert message_of(lambda: captured(net, x, grads=True)) == (
            "grads=True needs autograd; run the network outside torch.no_grad() and inference_mode()"
        )
        return
    wanted = retained_gradients(
        Net(lambda net, x: net.tail(net.body(net.stem(x))), **dict(net.named_children())),
        lambda plain: plain(x).square().sum(),
    )
    with capture(net, grads=True) as acts:
        net(x).square().sum().backward()
    for layer, gradients in wanted.items():
        assert same(acts.grad(layer), gradients[0]), layer


def test_maps_of_gradients_are_those_of_their_own_forward() -> None:
    net = Net(lambda net, x: net.tokens(x).sum(1), tokens=Lambda(lambda x: net.conv(x).flatten(2).mT))
    net.conv = nn.Conv2d(1, 3, 4, stride=4)
    with capture(net, "tokens", grads=True, maps=True) as acts:
        first = net(torch.randn(2, 1, 16, 32))
        net(torch.randn(3, 1, 8, 8))
        first.sum().backward()
    assert acts.grad("tokens", 0).shape == (2, 3, 4, 8)
    assert acts.calls("tokens")[1].shape == (3, 3, 2, 2)
