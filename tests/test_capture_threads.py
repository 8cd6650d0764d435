"""Captures in several threads do not mix."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from capture_oracle import same
from torch import nn

from viztool.hooks import capture


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
