"""What a capture holds in memory, and what it lets go."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from capture_nets import GRAD_MODES, message_of
from capture_oracle import retained_gradients, same
from torch import Tensor, nn

from viztool.hooks import capture


@pytest.mark.parametrize("mode", GRAD_MODES)
def test_a_reduced_slice_keeps_nothing_else_in_memory(mode: Callable[[], Any]) -> None:
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(inplace=True))
    x = torch.randn(2, 1, 9, 9)
    forms: dict[str, Callable[[Tensor], Any]] = {
        "slice": lambda t: t[:, 2:4],
        "tuple": lambda t: (t[:, 2:4], t.mean()),
        "dict": lambda t: {"some": t[0], "all": t},
    }
    for reduce in forms.values():
        with mode(), capture(net, "0", reduce=reduce) as acts:
            net(x)
        kept, expected = acts["0"], reduce(net[0](x))
        assert type(kept) is type(expected)
        assert same(kept, expected)
        pairs = zip(_tensors(kept), _tensors(expected), strict=True)
        assert all(mine.untyped_storage().nbytes() == theirs.numel() * 4 for mine, theirs in pairs)


def _tensors(output: Any) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output]
    return [tensor for item in (output.values() if isinstance(output, dict) else output) for tensor in _tensors(item)]


def test_a_reduced_output_is_all_that_lives() -> None:
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3))
    alive = []

    def reduce(tensor: Tensor) -> Tensor:
        alive.append(weakref.ref(tensor.untyped_storage()))
        return tensor.amax((2, 3))

    with torch.no_grad(), capture(net, reduce=reduce) as acts:
        output = net(torch.randn(2, 1, 9, 9))
        assert acts["0"].untyped_storage().nbytes() == 2 * 8 * 4
    del output
    assert [storage() for storage in alive] == [None] * 3


def test_a_reduction_to_an_array_that_shares_the_memory_is_copied() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True))
    x = torch.randn(2, 1, 5, 5)
    with torch.no_grad():
        expected = net[0](x).numpy()
        with capture(net, "0", reduce=lambda t: t.numpy()) as whole:
            net(x)
        with capture(net, "0", reduce=lambda t: [t[0].numpy(), float(t.mean())]) as parts:
            net(x)
    assert np.array_equal(whole["0"], expected)
    assert np.array_equal(parts["0"][0], expected[0])
    assert parts["0"][1] == pytest.approx(expected.mean(), rel=1e-5)


def test_reduce_in_the_graph_and_the_gradient_at_the_whole_output() -> None:
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(inplace=True), nn.Conv2d(8, 1, 3))
    x = torch.randn(2, 1, 9, 9)
    expected = torch.autograd.grad(net[0](x)[:, 3].square().sum(), net[0].weight)
    with capture(net, "0", grads=True, reduce=lambda t: t[:, 3]) as acts:
        output = net(x)
    assert same(torch.autograd.grad(acts["0"].square().sum(), net[0].weight, retain_graph=True), expected)
    output.sum().backward()
    assert same(acts.grad("0"), retained_gradients(net, lambda plain: plain(x).sum())["0"][0])


def test_copy_false_shares_memory_and_says_which_layer_was_overwritten() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True), nn.Conv2d(2, 2, 3))
    x = torch.randn(2, 1, 9, 9)
    message = (
        "the output of layer {!r} was overwritten in place after it was captured; "
        "capture it with copy=True and detach=True, or clone it before you change it"
    )
    for mode in GRAD_MODES:
        with mode():
            with capture(net, copy=False) as acts:
                output = net(x)
            assert acts["2"].data_ptr() == output.data_ptr()
            assert same(acts["1"], net[0](x).relu())
            assert message_of(lambda acts=acts: acts["0"]) == message.format("0")
            assert message_of(lambda acts=acts: acts.calls("0")) == message.format("0")
            with capture(net, "0", copy=False, reduce=lambda t: (t[:1], t.sum())) as parts:
                net(x)
            assert message_of(lambda parts=parts: parts["0"]) == message.format("0")
    with capture(net, copy=False, grads=True) as acts:
        net(x).square().sum().backward()
    wanted = retained_gradients(net, lambda plain: plain(x).square().sum())
    assert all(same(acts.grad(layer), wanted[layer][0]) for layer in wanted)


def test_what_is_captured_is_the_readers_own_to_change() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3))
    x = torch.randn(2, 1, 9, 9)
    plain = net(x)
    with torch.no_grad(), capture(net, "0") as acts:
        net(x)
        acts["0"].zero_()
        assert same(net(x), plain)
    assert same(acts.calls("0"), [torch.zeros(2, 2, 7, 7), net[0](x)])


def test_nothing_stays_when_network_and_capture_are_gone() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True), nn.Conv2d(2, 1, 3))
    x = torch.randn(2, 1, 9, 9)
    refs = [weakref.ref(net), weakref.ref(net[0])]
    gc.collect()
    gc.disable()
    try:
        for options in ({}, {"grads": True}, {"copy": False}, {"layers": "stages"}, {"layers": "0", "stop": True}):
            output = None
            with capture(net, **options) as acts:
                output = net(x)
                output.sum().backward()
            refs += [weakref.ref(acts), weakref.ref(acts["2" if "2" in acts else "0"])]
            if options.get("grads"):
                refs.append(weakref.ref(acts.grad("0")))
            del acts, output
        with pytest.raises(ZeroDivisionError), capture(net, grads=True) as acts:
            net(x)
            raise ZeroDivisionError
        refs.append(weakref.ref(acts))
        del acts
    finally:
        gc.enable()
    del net
    gc.collect()
    assert [ref() for ref in refs] == [None] * len(refs)


@pytest.mark.filterwarnings("ignore:Using backward.. with create_graph=True:UserWarning")
def test_a_gradient_that_holds_its_graph_holds_no_cycle() -> None:
    layer = nn.Linear(3, 3)
    net = nn.Sequential(layer, nn.Tanh())
    with capture(net, "0", grads=True) as acts:
        score = net(torch.randn(2, 3)).pow(3).sum()
    torch.autograd.grad(score, acts["0"], create_graph=True)
    assert acts.grad("0").requires_grad
    refs = [weakref.ref(acts["0"]), weakref.ref(acts.grad("0"))]
    del acts, score
    assert [ref() for ref in refs] == [None, None]


def test_a_hundred_captures_leave_no_hook() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    x = torch.randn(1, 1, 5, 5)
    for _ in range(100):
        with capture(net, grads=True):
            net(x).sum().backward()
    hooks = [
        each for layer in net.modules() for name, each in layer.__dict__.items() if name.endswith("_hooks") and each
    ]
    assert hooks == []
