"""Threads on one network: every result is right in every thread, and the network is left as it was."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
import torch
from capture_oracle import equal_states, state_of
from torch import Tensor, nn

import viztool
from viztool.hooks import capture, turns
from viztool.hooks.evaluating import evaluating
from viztool.hooks.frozen import frozen
from viztool.hooks.replay import Replay
from viztool.hooks.tail import TailPass
from viztool.hooks.turns import changing, once, running

SECONDS = 20


class Net(nn.Module):
    """A shared in-place ReLU, a batch norm and a dropout, in training."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6, momentum=0.0)
        self.relu = nn.ReLU(inplace=True)
        self.body = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.ReLU(inplace=True))
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(6, 4)

    def features(self, x: Tensor) -> Tensor:
        return self.body(self.relu(self.norm(self.stem(x))))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.drop(self.features(x).mean((2, 3))))


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    net = Net()
    net.norm.running_mean.normal_()  # so that training shows in what it puts out,
    net.norm.num_batches_tracked = None  # and leaves nothing
    net.drop.p = 0.0
    net.stem.weight.requires_grad_(False)
    net.head.weight.grad = torch.ones_like(net.head.weight)
    return net


def captured(net: Net, x: Tensor) -> Any:
    with capture(net) as acts:
        net(x)
    return [acts.calls(layer) for layer in acts]


def captured_with_gradients(net: Net, x: Tensor) -> Any:
    with capture(net, "body.*", grads=True) as acts:
        output = net(x)
    return [*torch.autograd.grad(output[:, 1].square().sum(), acts["body.0"]), acts.grad("body.1")]


def captured_in_the_graph(net: Net, x: Tensor) -> Any:
    with capture(net, ["norm", "body"]) as acts:
        output = net(x)
    return torch.autograd.grad(output[:, 1].sum(), [acts["norm"], acts["body"]])


def nested(net: Net, x: Tensor) -> Any:
    with capture(net, "body") as acts:
        raw = viztool.class_activation_map(net, x, "ablationcam", target=2, layer="body").raw
        last = net(x)
    return [raw, last, acts["body"]]


def replayed(net: Net, x: Tensor) -> Any:
    rest = Replay(net, x, "body.0")
    return [rest.output, rest(torch.cat([rest.activations, -rest.activations]))]


def derived(net: Net, x: Tensor) -> Any:
    tail = TailPass(net, x, "norm")
    return tail.gradients(tail.output[:, 0])["norm"]


def failing(net: Net, x: Tensor) -> Any:
    with pytest.raises(viztool.errors.ViztoolError):
        viztool.feature_maps(net, x[:, :2])
    with pytest.raises(RuntimeError), capture(net):
        net(x[:, :2])
    return []


def through_a_wrapper(net: Net, x: Tensor) -> Any:
    return viztool.class_activation_map(nn.Sequential(nn.Identity(), net), x, "gradcam", target=1).raw


def interleaved(net: Net, x: Tensor) -> Any:
    """A capture in a generator, with other looks between its steps."""

    def steps() -> Iterator[Tensor]:
        with capture(net, "stem") as acts:
            for sign in (1, -1):
                net(sign * x)
                yield acts["stem"]

    found = []
    for stem in steps():
        found += [stem, viztool.class_activation_map(net, x, "eigencam", target=1, layer="body").raw]
    return found


LOOKS: dict[str, Callable[[Net, Tensor], Any]] = {
    "capture": captured,
    "gradients": captured_with_gradients,
    "graph": captured_in_the_graph,
    "nested": nested,
    "replay": replayed,
    "tail": derived,
    "fails": failing,
    "wrapper": through_a_wrapper,
    "generator": interleaved,
    "gradcam": lambda net, x: viztool.class_activation_map(net, x, "gradcam", target=1, layer="body").raw,
    "scorecam": lambda net, x: viztool.class_activation_map(net, x, "scorecam", target=1, layer="stem").raw,
    "features": lambda net, x: [torch.from_numpy(each.maps) for each in viztool.feature_maps(net, x).layers],
    "gradient": lambda net, x: viztool.attribute(net, x, "gradient", target=1).raw,
    "occlusion": lambda net, x: viztool.attribute(net, x, "occlusion", target=1).raw,
    "table": lambda net, x: torch.tensor([row.macs for row in viztool.layer_table(net, x).rows]),
}


@pytest.mark.parametrize("seed", range(3))
def test_four_threads_that_do_all_of_it_in_any_order(net: Net, seed: int) -> None:
    inputs = [torch.randn(1, 3, 8, 8) for _ in range(3)]
    expected = {(name, at): look(net, x) for name, look in LOOKS.items() for at, x in enumerate(inputs)}
    before = state_of(net)
    together = threading.Barrier(4)

    def work(number: int) -> None:
        order = [(name, at) for name in LOOKS for at in range(len(inputs))]
        random.Random(4 * seed + number).shuffle(order)
        together.wait(SECONDS)
        for name, at in order:
            torch.testing.assert_close(LOOKS[name](net, inputs[at]), expected[name, at], msg=name)

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work, number) for number in range(4)]:
            done.result()
    assert equal_states(state_of(net), before)
    assert (turns._running, turns._waiting) == ([], [])


def waits(block: Callable[[], Any]) -> bool:
    """Whether another thread has to wait for this one before it gets through the block."""
    through = threading.Event()

    def work() -> None:
        block()
        through.set()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    waited = not through.wait(0.2)
    _threads.append(thread)
    return waited


_threads: list[threading.Thread] = []


@pytest.fixture(autouse=True)
def _every_thread_gets_through() -> Iterator[None]:
    yield
    for thread in _threads:
        thread.join(SECONDS)
        assert not thread.is_alive()
    _threads.clear()
    assert (turns._running, turns._waiting) == ([], [])


def enter(context: Callable[[nn.Module], AbstractContextManager[None]], net: nn.Module) -> Callable[[], None]:
    def block() -> None:
        with context(net):
            pass

    return block


@pytest.mark.parametrize("context", [changing, evaluating, frozen])
def test_who_changes_a_network_is_alone_with_it_and_with_all_that_share_a_layer(context: Any, net: Net) -> None:
    other, around = Net(), nn.Sequential(nn.Identity(), net)
    with context(net):
        with evaluating(net), frozen(net.body), evaluating(around):
            pass
        assert waits(enter(changing, net))
        assert waits(enter(changing, net.body))
        assert waits(enter(frozen, around))
        assert waits(enter(running, net))
        assert waits(lambda: captured(net, torch.randn(1, 3, 8, 8)))
        assert not waits(enter(evaluating, other))
        assert not waits(lambda: net(torch.randn(1, 3, 8, 8)))


def test_captures_run_beside_each_other_and_hold_nobody_up_between_forwards(net: Net) -> None:
    x = torch.randn(1, 3, 8, 8)
    found: list[bool] = []

    def during(*_: Any) -> None:
        handle.remove()
        found.extend([waits(lambda: captured(net, x)), waits(enter(evaluating, net))])

    handle = net.body.register_forward_hook(during)
    with capture(net, "stem"):
        net(x)
        assert found == [False, True]
        assert not waits(enter(evaluating, net))


class OwnError(Exception):
    pass


@pytest.mark.parametrize("error", [OwnError, KeyboardInterrupt, SystemExit])
def test_an_exception_in_a_forward_gives_the_network_back(net: Net, error: type[BaseException]) -> None:
    x = torch.randn(1, 3, 8, 8)
    before = state_of(net)
    looks: list[Callable[[], Any]] = [
        lambda: captured(net, x),
        lambda: viztool.class_activation_map(net, x, "gradcam", layer="stem"),
        lambda: viztool.attribute(net, x, "gradient"),
        lambda: Replay(net, x, "stem"),
        lambda: TailPass(net, x, "stem"),
        lambda: viztool.layer_table(net, x),
    ]
    for look in looks:

        def fail(*_: Any) -> None:
            raise error("of its own")

        handle = net.body.register_forward_hook(fail)
        with pytest.raises((error, viztool.errors.ModelError)):
            look()
        handle.remove()
        assert equal_states(state_of(net), before)
        assert not waits(enter(changing, net))


def test_a_forward_that_failed_inside_a_capture_holds_nobody_up(net: Net) -> None:
    x = torch.randn(1, 3, 8, 8)
    with capture(net, "stem"):
        with pytest.raises(RuntimeError):
            net(x[:, :2])
        assert not waits(enter(changing, net))
        net(x)
        with capture(net, "body", stop=True):
            net(x)
        assert not waits(enter(changing, net))


def test_a_replay_that_is_interrupted_puts_the_forwards_back(net: Net) -> None:
    rest = Replay(net, torch.randn(1, 3, 8, 8), "stem")
    before = state_of(net)

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    handle = net.body.register_forward_pre_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        rest(rest.activations)
    handle.remove()
    assert equal_states(state_of(net), before)


def test_what_is_interrupted_while_it_puts_back_is_put_back() -> None:
    done: list[str] = []

    def restore() -> None:
        done.append("once more" if done else "begun")
        if len(done) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        turns.surely(restore)
    assert done == ["begun", "once more"]


def test_who_is_interrupted_while_waiting_leaves_the_queue(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(turns._changed, "wait_for", interrupt)
        with changing(net):
            raise AssertionError("the block must not begin")
    assert not waits(enter(changing, net))


def test_it_is_first_come_first_served(net: Net) -> None:
    came: list[str] = []

    @contextmanager
    def noted(name: str, context: Callable[[nn.Module], AbstractContextManager[None]]) -> Iterator[None]:
        with context(net):
            came.append(name)
            yield

    def come(name: str, context: Callable[[nn.Module], AbstractContextManager[None]]) -> None:
        with noted(name, context):
            pass

    with running(net):
        assert waits(lambda: come("changes", changing))
        assert waits(lambda: come("runs", running))  # or forwards that overlap would never let a change begin
        with running(net):
            assert came == []
    for thread in _threads:
        thread.join(SECONDS)
    assert came == ["changes", "runs"]


def test_a_value_that_is_looked_for_once_is_waited_for_by_nobody_who_has_the_turn(net: Net) -> None:
    """A thread that asks first, and waits for its turn, holds nothing that another one in its turn needs."""

    class Look:
        @once
        def value(self) -> int:
            with changing(net):
                return 1

    with changing(net):
        assert waits(lambda: Look().value)
        assert Look().value == 1
