"""Every way that is known to get a wrong tensor, a wrong gradient or a changed network out of a capture."""

from __future__ import annotations

import gc
import threading
import weakref
from collections import OrderedDict, namedtuple
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from capture_oracle import cloned_outputs, equal_states, retained_gradients, same, state_of
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from viztool.errors import LayerError, ModelError
from viztool.hooks import Activations, capture

GRAD_MODES = [torch.no_grad, torch.enable_grad]


def message_of(block: Callable[[], Any], error: type[Exception] = LayerError) -> str:
    with pytest.raises(error) as caught:
        block()
    return str(caught.value)


class Lambda(nn.Module):
    """A layer that is one function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


class Net(nn.Module):
    """Layers by name, and a forward that uses them as attributes."""

    def __init__(self, run: Callable[[Any, Tensor], Any], **layers: nn.Module) -> None:
        super().__init__()
        self.run = run
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Any:
        return self.run(self, x)


# In place


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


# Outputs of all forms


class Pair(NamedTuple):
    first: Any
    second: Any


Older = namedtuple("Older", ["first", "second"])


@dataclass
class Output:
    first: Any
    second: Any = None


@dataclass(frozen=True)
class Frozen:
    first: Any
    second: Any = None


class ModelOutput(OrderedDict[str, Any]):
    """As model libraries have it: a dataclass and an OrderedDict at once, read by key, attribute or index."""

    def __init__(self, **items: Any) -> None:
        super().__init__(items)
        for key, item in items.items():
            super().__setattr__(key, item)

    def __setitem__(self, key: str, item: Any) -> None:
        super().__setitem__(key, item)
        super().__setattr__(key, item)

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(key) if isinstance(key, str) else tuple(self.values())[key]

    def __reduce__(self) -> Any:
        return _model_output, (dict(self.items()),)


def _model_output(items: dict[str, Any]) -> ModelOutput:
    return ModelOutput(**items)


class Box:
    """Neither of these: an object with tensors as attributes."""

    def __init__(self, first: Any, second: Any) -> None:
        self.first, self.second = first, second


FORMS: dict[str, tuple[Callable[[Tensor, Any], Any], Callable[[Any], tuple[Tensor, Any]]]] = {
    "tuple": (lambda a, b: (a, b), lambda o: (o[0], o[1])),
    "list": (lambda a, b: [a, b], lambda o: (o[0], o[1])),
    "nested": (lambda a, b: {"deep": [(a,), b]}, lambda o: (o["deep"][0][0], o["deep"][1])),
    "dict": (lambda a, b: {"first": a, "second": b}, lambda o: (o["first"], o["second"])),
    "NamedTuple": (Pair, lambda o: (o.first, o.second)),
    "namedtuple": (Older, lambda o: (o.first, o.second)),
    "dataclass": (Output, lambda o: (o.first, o.second)),
    "frozen dataclass": (Frozen, lambda o: (o.first, o.second)),
    "ModelOutput": (lambda a, b: ModelOutput(first=a, second=b), lambda o: (o.first, o["second"])),
    "object": (Box, lambda o: (o.first, o.second)),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("second", ["tensor", None, "the same", 3])
def test_outputs_of_any_form_are_kept_in_it_with_their_gradients(form: str, second: Any) -> None:
    make, parts = FORMS[form]

    def layer(x: Tensor) -> Any:
        h = x * 2
        return make(h, {"tensor": x * 3, "the same": h}.get(second, second))

    def run(net: Any, x: Tensor) -> Tensor:
        output = net.layer(net.conv(x))
        assert type(output) is type(make(x, x))
        first, other = parts(output)
        summed = first.square().sum()
        if isinstance(other, Tensor):
            summed = summed + (5 * other).sum()
        with torch.no_grad():
            first.zero_()
        return summed

    net = Net(run, conv=nn.Conv2d(1, 2, 3), layer=Lambda(layer))
    x = torch.randn(2, 1, 5, 5)
    h = net.conv(x)
    with torch.no_grad(), capture(net, "layer") as values:
        net(x)
    with capture(net, "layer") as in_graph:
        net(x)
    for acts in (values, in_graph):
        assert type(acts["layer"]) is type(make(x, x))
        first, other = parts(acts["layer"])
        assert torch.equal(first, 2 * h)
        if isinstance(other, Tensor):
            assert torch.equal(other, 3 * h if second == "tensor" else 2 * h)
        else:
            assert other == second


def test_a_score_reaches_the_differentiable_part_of_an_output() -> None:
    net = Net(lambda net, x: net.layer(x)[0].square().sum(), layer=Lambda(lambda x: (2 * x, x.argmax(1))))
    x = torch.randn(2, 3, requires_grad=True)
    with capture(net, "layer") as acts:
        score = net(x)
    values, winners = acts["layer"]
    assert same((values, winners), (2 * x, x.argmax(1)))
    assert same(torch.autograd.grad(score, values), 4 * x)


@pytest.mark.parametrize("form", FORMS)
def test_gradients_have_the_form_of_the_output(form: str) -> None:
    make, parts = FORMS[form]
    net = Net(
        lambda net, x: parts(net.layer(net.conv(x)))[0].square().sum(),
        conv=nn.Conv2d(1, 2, 3),
        layer=Lambda(lambda h: make(2 * h, 3 * h)),
    )
    x = torch.randn(2, 1, 5, 5)
    with capture(net, "layer", grads=True) as acts:
        net(x).backward()
    gradient = acts.grad("layer")
    assert type(gradient) is type(make(x, x))
    first, second = parts(gradient)
    assert torch.equal(first, 4 * net.conv(x))
    assert second is None


def test_the_same_tensor_twice_stays_one_memory_for_the_network() -> None:
    def run(net: Any, x: Tensor) -> Tensor:
        one, other = net.layer(x)
        one.add_(1)
        return other * 2

    net = Net(run, layer=Lambda(lambda x: (h := x * 3, h)))
    x = torch.randn(3, requires_grad=True)
    plain = net(x)
    with capture(net, "layer") as acts:
        output = net(x)
    assert same(output, plain)
    assert same(acts["layer"], (x * 3, x * 3))


@pytest.mark.parametrize("nothing", [None, (), {}, "text", 7])
def test_an_output_without_tensors_is_kept_as_it_is(nothing: Any) -> None:
    net = Net(lambda net, x: net.conv(x) if net.layer(x) == nothing else None, conv=nn.Conv2d(1, 1, 1))
    net.layer = Lambda(lambda x: nothing)
    with capture(net, "layer", grads=True) as acts:
        net(torch.ones(1, 1, 2, 2)).sum().backward()
    assert acts["layer"] == nothing
    assert acts.calls("layer") == [nothing]
    assert message_of(lambda: acts.grad("layer")) == (
        "no gradient has reached layer 'layer'; call backward() on something that depends on it"
    )


def test_a_layer_that_puts_out_a_module_keeps_it() -> None:
    expert = nn.Linear(2, 2)
    expert.cache = torch.ones(2)
    net = Net(lambda net, x: net.choose(x)(x), choose=Lambda(lambda x: expert))
    with capture(net, "choose", grads=True) as acts:
        net(torch.ones(1, 2))
    assert acts["choose"] is expert


@pytest.mark.parametrize("grads", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        lambda x: x.argmax(1),
        lambda x: x > 0,
        lambda x: x[:0],
        lambda x: x.bfloat16(),
        lambda x: x.half(),
        lambda x: x.double(),
        lambda x: torch.complex(x, x),
        lambda x: x.sum(),
        lambda x: x.flatten().to_sparse(),
        lambda x: x[:1].expand(4, -1, -1, -1),
    ],
)
def test_outputs_of_any_kind_and_size(make: Callable[[Tensor], Tensor], grads: bool) -> None:
    net = Net(lambda net, x: net.layer(net.conv(x)), conv=nn.Conv2d(1, 2, 3), layer=Lambda(make))
    x = torch.randn(2, 1, 5, 5)
    plain = net(x)
    with capture(net, grads=grads) as acts:
        output = net(x)
    for tensor in (acts["layer"], output):
        assert tensor.layout == plain.layout
        assert same(tensor.to_dense() if plain.is_sparse else tensor, plain.to_dense() if plain.is_sparse else plain)


def test_gradients_of_complex_outputs() -> None:
    net = Net(lambda net, x: net.fourier(x).abs().square().sum(), fourier=Lambda(torch.fft.fft2))
    x = torch.randn(1, 1, 4, 4, requires_grad=True)
    with capture(net, "fourier", grads=True) as acts:
        net(x).backward()
    torch.testing.assert_close(acts.grad("fourier"), 2 * torch.fft.fft2(x))


def test_without_grad_the_network_goes_on_with_the_very_object() -> None:
    made: list[Any] = []

    def layer(x: Tensor) -> Any:
        made.append({"x": [x]})
        return made[-1]

    net = Net(lambda net, x: net.layer(x) is made[-1], layer=Lambda(layer))
    with torch.no_grad(), capture(net, "layer"):
        assert net(torch.ones(1))
    with capture(net, "layer"):
        assert net(torch.ones(1))


def test_channels_last_memory_stays_channels_last() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(inplace=True)).to(memory_format=torch.channels_last)
    x = torch.randn(2, 3, 8, 8).to(memory_format=torch.channels_last)
    for mode in GRAD_MODES:
        with mode(), capture(net) as acts:
            output = net(x)
        for tensor in (*(acts[name] for name in acts), output):
            assert tensor.is_contiguous(memory_format=torch.channels_last)


# Gradients


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
        assert message_of(lambda: _captured(net, x, grads=True)) == (
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


def _captured(net: nn.Module, x: Tensor, layers: Any = None, **options: Any) -> Activations:
    with capture(net, layers, **options) as acts:
        net(x)
    return acts


def test_maps_of_gradients_are_those_of_their_own_forward() -> None:
    net = Net(lambda net, x: net.tokens(x).sum(1), tokens=Lambda(lambda x: net.conv(x).flatten(2).mT))
    net.conv = nn.Conv2d(1, 3, 4, stride=4)
    with capture(net, "tokens", grads=True, maps=True) as acts:
        first = net(torch.randn(2, 1, 16, 32))
        net(torch.randn(3, 1, 8, 8))
        first.sum().backward()
    assert acts.grad("tokens", 0).shape == (2, 3, 4, 8)
    assert acts.calls("tokens")[1].shape == (3, 3, 2, 2)


# Memory


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


# Other people's hooks, exceptions, nesting


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


# Threads


@pytest.mark.parametrize("grads", [False, True])
def test_two_threads_on_one_network_do_not_mix(grads: bool) -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Linear(4, 2))
    barrier = threading.Barrier(4)

    def look(number: int) -> None:
        x = torch.full((1, 4), float(number))
        hidden = net[0](x)
        barrier.wait()
        for _ in range(60):
            with capture(net, grads=grads) as acts:
                output = net(x)
                if grads:
                    torch.autograd.grad(output.sum(), acts["0"])
            assert len(acts.calls("0")) == 1
            assert same(acts["0"], hidden)
            assert same(acts["1"], hidden.relu())
            if grads:
                assert same(acts.grad("0"), net[2].weight.sum(0) * (hidden > 0))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(look, range(4)))
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in net.modules())


def test_another_threads_forward_is_no_part_of_the_capture_nor_stopped_by_it() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    with ThreadPoolExecutor(1) as pool, capture(net, "0", stop=True) as acts:
        assert pool.submit(net, torch.ones(1, 2)).result().shape == (1, 2)
        assert acts.layers == []
        net(torch.ones(1, 2))
    assert len(acts.calls("0")) == 1


def test_a_forward_runs_while_another_thread_opens_and_closes_captures() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    x = torch.ones(1, 2)
    plain, done = net(x), threading.Event()

    def open_and_close() -> None:
        while not done.is_set():
            with capture(net):
                net(x)

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(open_and_close)
        try:
            for _ in range(2000):
                assert torch.equal(net(x), plain)
        finally:
            done.set()
        other.result()


def test_a_hook_that_is_still_or_already_seen_without_its_kwargs() -> None:
    # torch keeps two tables of hooks, and a forward in another thread can meet them between the two writes.
    net = nn.Sequential(nn.Linear(2, 2))
    with capture(net, "0") as acts:
        net[0]._forward_pre_hooks_with_kwargs.clear()
        net(torch.ones(1, 2))
    assert same(acts["0"], net[0](torch.ones(1, 2)))


# Wrapped, compiled, scripted


def small() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(2, 1, 3)))


def test_data_parallel_is_unwrapped() -> None:
    net, x = small(), torch.randn(2, 1, 7, 7)
    wrapped = nn.DataParallel(net)
    expected = cloned_outputs(net, lambda: net(x))
    with capture(wrapped) as acts:
        wrapped(x)
    assert acts.layers == list(expected) == ["0", "1.0", "1.1"]
    assert all(same(acts[layer], expected[layer][0]) for layer in expected)


def test_distributed_data_parallel_is_unwrapped() -> None:
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        net, x = small(), torch.randn(2, 1, 7, 7)
        wrapped = nn.parallel.DistributedDataParallel(net)
        expected = cloned_outputs(net, lambda: net(x))
        with capture(wrapped, grads=True) as acts:
            wrapped(x).square().sum().backward()
        assert all(same(acts[layer], expected[layer][0]) for layer in expected)
        wanted = retained_gradients(net, lambda plain: plain(x).square().sum())
        assert all(same(acts.grad(layer), wanted[layer][0]) for layer in wanted)
        with capture(wrapped, "0", stop=True) as acts:
            wrapped(x)
        wrapped(x).sum().backward()
    finally:
        torch.distributed.destroy_process_group()


@pytest.fixture
def compiled_runs() -> Iterator[list[str]]:
    """Notes each run of code compiled with the backend `noting`; all that was compiled is dropped at the end."""
    torch._dynamo.reset()
    _compiled_runs.clear()
    yield _compiled_runs
    torch._dynamo.reset()


_compiled_runs: list[str] = []


def noting(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
    def run(*args: Any) -> Any:
        _compiled_runs.append("compiled")
        return graph(*args)

    return run


def compiled(how: str) -> tuple[nn.Module, nn.Module]:
    """A network compiled in a way of the field, and the plain one that it was made from."""
    net = small()
    if how == "torch.compile":
        return torch.compile(net, backend=noting), net
    if how == "net.compile()":
        net.compile(backend=noting)
        return net, net
    outer = nn.Sequential(net[0], torch.compile(net[1], backend=noting))
    return outer, net


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # dynamo looks at it
@pytest.mark.parametrize("how", ["torch.compile", "net.compile()", "a compiled part"])
def test_compiled_networks_run_eagerly_inside_and_compiled_again_afterwards(how: str, compiled_runs: list[str]) -> None:
    torch.manual_seed(1)
    net, plain = compiled(how)
    x = torch.randn(2, 1, 7, 7)
    output = net(x)
    assert compiled_runs
    hidden = F.conv2d(x, plain[0].weight, plain[0].bias)
    for mode in GRAD_MODES:
        compiled_runs.clear()
        with mode(), capture(net) as acts:
            inside = net(x)
        assert compiled_runs == []
        assert acts.layers == ["0", "1.0", "1.1"]
        assert same(acts["0"], hidden)
        assert same(acts["1.0"], hidden.relu())
        torch.testing.assert_close(inside, output)
        net(x)
        assert compiled_runs
    with capture(net, "1") as whole:
        net(x)
    torch.testing.assert_close(whole["1"], output)
    compiled_runs.clear()
    with pytest.raises(ZeroDivisionError), capture(net):
        raise ZeroDivisionError
    net(x)
    assert compiled_runs


def test_the_users_own_stance_comes_back(compiled_runs: list[str]) -> None:
    net = torch.compile(small(), backend=noting)
    x = torch.randn(2, 1, 7, 7)
    net(x)
    with torch.compiler.set_stance("eager_on_recompile"):
        with capture(net, "0"):
            assert torch._dynamo.eval_frame._stance.stance == "force_eager"
            with capture(net, "1.0"):
                net(x)
            net(x)
        assert torch._dynamo.eval_frame._stance.stance == "eager_on_recompile"
    assert torch._dynamo.eval_frame._stance.stance == "default"


def test_overlapping_threads_share_the_stance_and_the_last_puts_it_back(compiled_runs: list[str]) -> None:
    net = torch.compile(small(), backend=noting)
    x = torch.randn(2, 1, 7, 7)
    net(x)
    compiled_runs.clear()
    first_is_open, second_is_open, first_is_closed = threading.Event(), threading.Event(), threading.Event()

    def first() -> None:
        with capture(net, "0"):
            first_is_open.set()
            assert second_is_open.wait(20)
            net(x)
        first_is_closed.set()

    def second() -> Activations:
        assert first_is_open.wait(20)
        with capture(net, "0") as acts:
            second_is_open.set()
            assert first_is_closed.wait(20)
            net(x)
        return acts

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.submit(first), pool.submit(second)
        one.result()
        assert len(other.result().calls("0")) == 1
    assert compiled_runs == []
    assert torch._dynamo.eval_frame._stance.stance == "default"


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning", "ignore:.torch.jit:DeprecationWarning")
@pytest.mark.parametrize("make", [torch.jit.script, lambda net: torch.jit.trace(net, torch.ones(1, 1, 7, 7))])
def test_scripted_and_traced_networks_and_layers_are_refused(make: Callable[[nn.Module], nn.Module]) -> None:
    def open_it(net: nn.Module, layers: Any = None) -> Callable[[], Any]:
        return lambda: _captured(net, torch.ones(1, 1, 7, 7), layers)

    assert message_of(open_it(make(small())), ModelError) == (
        "the network is scripted or traced, and hooks do not fire in it; pass the network that it was made from"
    )
    outer = nn.Sequential(nn.Identity(), make(small()))
    assert message_of(open_it(outer, "1.0")) == "layer '1.0' is scripted or traced, and hooks do not fire in it"
    assert message_of(open_it(outer)) == "layer '1.0' is scripted or traced, and hooks do not fire in it"
    assert open_it(outer, "0")()["0"].shape == (1, 1, 7, 7)
    assert not any(layer._forward_hooks for layer in outer.modules())


def test_what_is_no_network_is_said() -> None:
    assert message_of(lambda: _captured("resnet50", torch.ones(1)), ModelError) == (
        "expected a network (torch.nn.Module or viztool Model), got str"
    )


def test_a_layer_that_is_called_as_a_function_never_runs() -> None:
    net = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    x = torch.randn(2, 3, 8)
    for mode in (nullcontext, torch.no_grad):
        with mode():
            net.eval()
            assert message_of(lambda: _captured(net, x, ["self_attn.out_proj", "linear1"])) == (
                "selected, but never ran: 'self_attn.out_proj'; leave out what this forward does not use"
            )
            assert message_of(lambda: _captured(net, x, "self_attn.out_proj")) == (
                "nothing was captured of 'self_attn.out_proj': "
                "the network did not run inside the block, or not these layers"
            )
            expected = cloned_outputs(net, lambda: net(x))
            acts = _captured(net, x)
            assert sorted(acts.layers) == sorted(expected)
            assert all(same(acts[layer], expected[layer][0]) for layer in expected)


def test_keyword_arguments_reach_the_layer() -> None:
    net = Net(lambda net, x: net.layer(x, factor=3), layer=Lambda(lambda x, factor: x.mul_(factor)))
    x = torch.randn(3)
    expected = x * 3
    with capture(net, "layer", grads=True) as acts:
        net(x)
    assert same(acts["layer"], expected)
    assert same(x, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype: torch.dtype) -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True), nn.Conv2d(2, 1, 3)).to(dtype)
    x = torch.randn(2, 1, 7, 7, dtype=dtype)
    expected = cloned_outputs(net, lambda: net(x))
    with capture(net, grads=True) as acts:
        net(x).float().sum().backward()
    wanted = retained_gradients(net, lambda plain: plain(x).float().sum())
    for layer, calls in expected.items():
        assert same(acts[layer], calls[0])
        assert same(acts.grad(layer), wanted[layer][0])
        assert acts.grad(layer).dtype == dtype


def test_autocast() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(inplace=True)).eval()
    x = torch.randn(2, 1, 7, 7)
    with torch.autocast("cpu", torch.bfloat16):
        expected = cloned_outputs(net, lambda: net(x))
        with capture(net, grads=True) as acts:
            net(x).float().sum().backward()
    assert all(same(acts[layer], calls[0]) for layer, calls in expected.items())
    assert acts["0"].dtype == torch.bfloat16
    assert acts.grad("0").dtype == torch.bfloat16


def test_a_network_on_the_meta_device() -> None:
    with torch.device("meta"):
        net = small()
        for mode in GRAD_MODES:
            with mode(), capture(net) as acts:
                net(torch.empty(2, 1, 7, 7))
            assert [tuple(acts[layer].shape) for layer in acts] == [(2, 2, 5, 5), (2, 2, 5, 5), (2, 1, 3, 3)]


def test_pictures_in_a_list_are_pictures_too() -> None:
    net = Net(
        lambda net, pictures: net.last(net.conv(torch.stack(pictures))),
        conv=nn.Conv2d(3, 5, 1),
        last=Lambda(lambda x: x.permute(0, 2, 3, 1)),
    )
    pictures = [torch.randn(3, 8, 12), torch.randn(3, 8, 12)]
    with capture(net, ["conv", "last"], maps=True) as acts:
        net(pictures)
    assert acts["last"].shape == (2, 5, 8, 12)
    assert same(acts["last"], acts["conv"])
