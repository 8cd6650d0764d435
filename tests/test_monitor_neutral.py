"""A monitored training is, bit for bit, the unmonitored one; and nothing of the monitor is left on the network."""

from __future__ import annotations

import copy
import gc
import io

import pytest
import torch
from monitor_nets import batches, small, train
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import viztool

OPTIMIZERS = {
    "sgd": lambda net: torch.optim.SGD(net.parameters(), 0.05, momentum=0.9),
    "adam": lambda net: torch.optim.Adam(net.parameters(), 1e-3),
    "adamw-foreach": lambda net: torch.optim.AdamW(net.parameters(), 1e-3, foreach=True),
}


SIZES = {16 * 3 * 8 * 8, 16 * 8 * 8 * 8, 3 * 8 * 9, 8 * 8 * 9}
"""Numbers in the input, the maps and the kernels of `small`."""


def hooks_of(net):
    return [
        len(hooks)
        for module in net.modules()
        for hooks in (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)
    ]


def everything(net, optimizer):
    """All tensors that a training changes, and torch's random numbers."""
    state = [value for each in optimizer.state_dict()["state"].values() for value in each.values()]
    tensors = [*net.state_dict().values(), *(value for value in state if isinstance(value, torch.Tensor))]
    return [*(tensor.clone() for tensor in tensors), torch.get_rng_state()]


def twice(build, run):
    """The losses and all states of a training without the monitor, and of one with."""
    found = []
    for watched in (False, True):
        torch.manual_seed(3)
        net, optimizer = build()
        health = viztool.monitor(net, optimizer, every=3) if watched else None
        losses = run(net, optimizer)
        found.append((losses, everything(net, optimizer)))
        if health is not None:
            health.close()
            assert health._engine.failed == ""
            assert health.numbers["samples"] > 1
    return found


def saved(net):
    file = io.BytesIO()
    torch.save(net, file)
    return torch.load(io.BytesIO(file.getvalue()), weights_only=False)


def assert_same(found):
    (losses, states), (others, other_states) = found
    assert losses == others
    assert all(torch.equal(one, other) for one, other in zip(states, other_states, strict=True))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weights_optimizer_random_numbers_buffers_and_losses_are_the_same(name):
    def build():
        net = small()
        return net, OPTIMIZERS[name](net)

    assert_same(twice(build, lambda net, optimizer: train(net, optimizer, 20)))


@pytest.mark.parametrize("reentrant", [True, False])
def test_so_they_are_with_checkpointing_and_accumulation(reentrant):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.body, self.head = (
                nn.Conv2d(3, 8, 3),
                nn.Sequential(nn.Conv2d(8, 8, 3), nn.ReLU()),
                nn.Linear(8, 5),
            )

        def forward(self, x):
            y = checkpoint(self.body, self.stem(x), use_reentrant=reentrant)
            return self.head(y.mean((2, 3)))

    def run(net, optimizer):
        losses = []
        for at, (x, labels) in enumerate(batches(24)):
            loss = F.cross_entropy(net(x), labels) / 2
            loss.backward()
            losses.append(loss.item())
            if at % 2:
                optimizer.step()
                optimizer.zero_grad()
        return losses

    def build():
        net = Net()
        return net, torch.optim.SGD(net.parameters(), 0.05)

    assert_same(twice(build, run))


def test_so_they_are_with_bfloat16_and_validation_between_steps():
    def run(net, optimizer):
        losses = []
        for x, labels in batches(10):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = F.cross_entropy(net(x), labels)
            loss.backward()
            optimizer.step()
            net.eval()
            with torch.no_grad():
                losses.append((loss.item(), net(x).sum().item()))
            net.train()
        return losses

    def build():
        net = small()
        return net, torch.optim.Adam(net.parameters(), 1e-3)

    assert_same(twice(build, run))


def test_between_samples_there_are_no_hooks_and_after_it_none_at_all():
    net = small()
    optimizer = torch.optim.SGD(net.parameters(), 0.05)
    before = hooks_of(net)
    seen = []
    health = viztool.monitor(net, optimizer, every=4)
    train(net, optimizer, 9, before=lambda step: seen.append(sum(hooks_of(net)) > sum(before)))
    assert seen == [step % 4 == 0 for step in range(9)]
    health.close()
    assert hooks_of(net) == before
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks


@pytest.mark.parametrize("twin_of", [copy.deepcopy, saved], ids=["copied", "saved"])
def test_a_network_is_copied_and_saved_while_a_step_is_watched(twin_of):
    net = small()
    optimizer = torch.optim.SGD(net.parameters(), 0.05)
    with viztool.monitor(net, optimizer, every=1, quiet=True) as health:
        train(net, optimizer, 2)
        twin = twin_of(net)
        for x, labels in batches(1):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), labels)
            twin(torch.cat([x] * 5)).sum().backward()
            loss.backward()
            optimizer.step()
    assert health._engine.failed == ""
    assert health.run.network["images"].tolist() == [16, 16, 16]
    x = torch.zeros(2, 3, 8, 8)
    assert torch.equal(twin.eval()(x), twin_of(twin)(x))


def test_a_cell_that_is_run_twice_leaves_one_monitor():
    net = small()
    optimizer = torch.optim.SGD(net.parameters(), 0.05)
    first = viztool.monitor(net, optimizer, every=2)
    hooks = hooks_of(net)
    second = viztool.monitor(net, optimizer, every=2)
    assert hooks_of(net) == hooks
    train(net, optimizer, 4)
    assert first.numbers["samples"] == 0
    assert second.numbers["samples"] == 2
    second.close()


def test_it_holds_no_tensor_of_the_network_between_samples():
    net = small()
    optimizer = torch.optim.SGD(net.parameters(), 0.05)
    with viztool.monitor(net, optimizer, every=50):
        before = {id(each) for each in gc.get_objects() if type(each) is torch.Tensor}
        train(net, optimizer, 3)
        gc.collect()
        known = {id(each) for each in (*net.parameters(), *net.buffers())}
        known |= before | {id(each.grad) for each in net.parameters()}
        held = [each for each in gc.get_objects() if type(each) is torch.Tensor and id(each) not in known]
        mine = [each for each in held if each.is_floating_point() and each.device == net[0].weight.device]
        assert sum(each.numel() for each in mine if each.numel() in SIZES) == 0


@pytest.mark.parametrize("where", ["forward", "step"])
def test_a_failure_inside_ends_no_training_and_is_said_once(where, monkeypatch, recwarn):
    def broken(*_):
        raise RuntimeError("no room")

    monkeypatch.setattr(
        "viztool.monitor.sampler.moments" if where == "forward" else "viztool.monitor.engine.compared", broken
    )
    net = small()
    twin = copy.deepcopy(net)
    optimizer = torch.optim.SGD(net.parameters(), 0.05)
    health = viztool.monitor(net, optimizer, every=2)
    with pytest.warns(UserWarning, match="switched itself off, the training goes on .RuntimeError: no room.") as said:
        torch.manual_seed(0)
        losses = train(net, optimizer, 6)
    assert len(said) == 1
    torch.manual_seed(0)
    assert losses == train(twin, torch.optim.SGD(twin.parameters(), 0.05), 6)
    assert hooks_of(net) == hooks_of(twin)
    assert health.findings == []


def test_where_warnings_are_errors_the_training_goes_on(monkeypatch, capsys):
    net = small()
    with torch.no_grad():
        net[3].weight[0, 0, 0, 0] = torch.nan
    optimizer = torch.optim.SGD(net.parameters(), 0.05)
    with viztool.monitor(net, optimizer, every=1) as health:  # warnings are errors in these tests
        train(net, optimizer, 2)
    assert [finding.kind for finding in health.findings] == ["not-finite"]
    assert "not-finite in 3" in capsys.readouterr().err


@pytest.mark.parametrize("rate", [1e10, 1e20, 1e37])
def test_nor_do_numbers_that_are_none_end_the_monitor_where_warnings_are_errors(rate):
    net = small()
    optimizer = torch.optim.SGD(net.parameters(), rate)
    with viztool.monitor(net, optimizer, every=1, quiet=True) as health:
        train(net, optimizer, 5)
    assert health._engine.failed == ""
    assert [finding.kind for finding in health.findings] == ["not-finite"]
