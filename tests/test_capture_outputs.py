"""Outputs of any form are kept in it, whole."""

from __future__ import annotations

from collections import OrderedDict, UserDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from capture_nets import GRAD_MODES, Lambda, Net, captured, message_of
from capture_oracle import same
from torch import Tensor, nn

from viztool.errors import LayerError
from viztool.hooks import capture


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


class Slots:
    """Keeps its attributes in slots, one of them of a base, one of them empty."""

    __slots__ = ("empty", "first")

    def __init__(self, first: Any) -> None:
        self.first = first


class MoreSlots(Slots):
    __slots__ = ("second",)

    def __init__(self, first: Any, second: Any) -> None:
        super().__init__(first)
        self.second = second


@dataclass(frozen=True, slots=True)
class FrozenSlots:
    first: Any
    second: Any = None


class Listed(list[Any]):
    """A list with an attribute."""

    def __init__(self, first: Any, second: Any) -> None:
        super().__init__([first])
        self.second = second


class Coupled(tuple[Any, Any]):
    """A tuple that is not made from one iterable."""

    def __new__(cls, first: Any, second: Any) -> Coupled:
        return super().__new__(cls, (first, second))


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
    "object in an object": (
        lambda a, b: Box(Box([a], None), {"second": b}),
        lambda o: (o.first.first[0], o.second["second"]),
    ),
    "object with slots": (MoreSlots, lambda o: (o.first, o.second)),
    "frozen dataclass with slots": (FrozenSlots, lambda o: (o.first, o.second)),
    "list with an attribute": (Listed, lambda o: (o[0], o.second)),
    "tuple of its own making": (Coupled, tuple),
    "deque": (lambda a, b: deque([a, b], maxlen=2), tuple),
    "UserDict": (lambda a, b: UserDict(first=a, second=b), lambda o: (o["first"], o["second"])),
    "defaultdict": (lambda a, b: defaultdict(list, first=a, second=b), lambda o: (o["first"], o["second"])),
    "read-only mapping": (lambda a, b: MappingProxyType({"a": a, "b": b}), lambda o: (o["a"], o["b"])),
    "a dict's values": (lambda a, b: {"first": a, "second": b}.values(), tuple),
    "a dict's items": (lambda a, b: {"first": a, "second": b}.items(), lambda o: tuple(dict(o).values())),
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


@pytest.mark.parametrize("mode", GRAD_MODES)
@pytest.mark.parametrize("make", [set, frozenset])
def test_sets_are_copied(make: Callable[[Any], Any], mode: Callable[[], Any]) -> None:
    def run(net: Any, x: Tensor) -> Tensor:
        parts = sorted(net.layer(net.conv(x)), key=lambda part: part.shape[1])
        total = sum((5 * part).sum() for part in parts)
        with torch.no_grad():
            parts[0].zero_()
        return total

    net = Net(
        run, conv=nn.Conv2d(1, 2, 3), layer=Lambda(lambda h: make([h * 2, h[:, :1] * 3, 7 * h.repeat(1, 2, 1, 1)]))
    )
    x = torch.randn(2, 1, 5, 5)
    h = net.conv(x)
    with mode(), capture(net, "layer", grads=mode is torch.enable_grad) as acts:
        total = net(x)
    assert type(acts["layer"]) is make
    kept = sorted(acts["layer"], key=lambda part: part.shape[1])
    assert same(kept, [h[:, :1] * 3, h * 2, 7 * h.repeat(1, 2, 1, 1)])
    if mode is torch.enable_grad:
        assert same(torch.autograd.grad(total, kept), [torch.full_like(part, 5.0) for part in kept])


def test_torchs_own_tuples() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), Lambda(lambda h: h.max(1)))
    x = torch.randn(2, 1, 5, 5)
    with capture(net, "1", grads=True) as acts:
        net(x).values.sum().backward()
    assert same(acts["1"].indices, net[0](x).argmax(1))
    assert same(acts.grad("1").values, torch.ones(2, 3, 3))


def test_what_holds_itself_is_copied_once() -> None:
    def layer(x: Tensor) -> Any:
        box = Box(x * 2, None)
        box.second = [box, box.first]
        return box

    net = Net(lambda net, x: net.layer(x).first.zero_(), layer=Lambda(layer))
    x = torch.randn(3)
    with capture(net, "layer") as acts:
        net(x)
    box = acts["layer"]
    assert box.second[0] is box
    assert same(box.first, 2 * x)
    assert same(box.second[1], 2 * x)


def test_an_array_is_copied() -> None:
    def run(net: Any, x: Tensor) -> Any:
        array = net.layer(x)["array"]
        array[:] = 0
        return array

    net = Net(run, layer=Lambda(lambda x: {"array": x.numpy() * 2}))
    x = torch.randn(3)
    with capture(net, "layer") as acts:
        assert not net(x).any()
    assert np.array_equal(acts["layer"]["array"], 2 * x.numpy())


def _generated(h: Tensor) -> Iterator[Tensor]:
    yield h * 2
    yield h * 3


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (_generated, "a generator"),
        (lambda h: map(torch.relu, [h]), "a map"),
        (lambda h: (h, iter([h])), "a list_iterator"),
        (lambda h: [partial(torch.mul, h * 2)], "a partial"),
        (lambda h: Uncopyable(h), "a Uncopyable"),
    ],
)
@pytest.mark.parametrize("mode", GRAD_MODES)
def test_what_cannot_be_copied_is_refused_by_name_when_it_is_read(make: Any, what: str, mode: Any) -> None:
    outputs = []
    net = Net(lambda net, x: outputs.append(net.layer(net.conv(x))), conv=nn.Conv2d(1, 2, 3), layer=Lambda(make))
    x = torch.randn(2, 1, 5, 5)
    with mode(), capture(net, ["conv", "layer"]) as acts:
        net(x)
    assert same(acts["conv"], net.conv(x))
    assert type(outputs[0]).__name__ in ("tuple", "list") or f"a {type(outputs[0]).__name__}" == what
    assert message_of(lambda: acts["layer"]) == (
        f"layer 'layer' puts out {what}, which cannot be copied, and what it holds may have changed since; "
        "capture the layers that are inside it"
    )


class Uncopyable:
    """As an object of a library written in C may be."""

    def __init__(self, held: Tensor) -> None:
        self.held = held

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("cannot pickle")


def test_a_forward_that_is_a_generator_runs_when_it_is_asked() -> None:
    class Steps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3)

        def forward(self, x: Tensor) -> Iterator[Tensor]:
            for factor in (1, 2):
                yield self.conv(factor * x).zero_()

    net, x = Net(lambda net, x: sum(net.steps(x)), steps=Steps()), torch.randn(1, 1, 5, 5)
    conv = net.steps.conv
    with capture(net) as acts:
        net(x)
    assert same(acts.calls("steps.conv"), [conv(x), conv(2 * x)])
    with pytest.raises(LayerError, match=r"^layer 'steps' puts out a generator, which cannot be copied"):
        captured(net, x, "steps", grads=True).grad("steps")
