"""Networks that are wrapped, compiled, scripted or traced."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from capture_nets import GRAD_MODES, captured, message_of, small
from capture_oracle import cloned_outputs, retained_gradients, same
from torch import Tensor, nn

from viztool.errors import ModelError
from viztool.hooks import Activations, capture


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
        return lambda: captured(net, torch.ones(1, 1, 7, 7), layers)

    assert message_of(open_it(make(small())), ModelError) == (
        "the network is scripted or traced, and hooks do not fire in it; pass the network that it was made from"
    )
    outer = nn.Sequential(nn.Identity(), make(small()))
    assert message_of(open_it(outer, "1.0")) == "layer '1.0' is scripted or traced, and hooks do not fire in it"
    assert message_of(open_it(outer)) == "layer '1.0' is scripted or traced, and hooks do not fire in it"
    assert open_it(outer, "0")()["0"].shape == (1, 1, 7, 7)
    assert not any(layer._forward_hooks for layer in outer.modules())


def test_what_is_no_network_is_said() -> None:
    assert message_of(lambda: captured("resnet50", torch.ones(1)), ModelError) == (
        "expected a network (torch.nn.Module or viztool Model), got str"
    )
