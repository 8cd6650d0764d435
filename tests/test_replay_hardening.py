"""A replay costs what its tail does, and keeps to the network's own memory layout, inputs and shared layers."""

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from viztool.hooks.replay import Replay


def peak(work):
    """The most bytes that are held during the work, over what was held before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        work()
    events = record.profiler.kineto_results.events()
    changes = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    held = most = 0
    for _, size in changes:
        held += size
        most = max(most, held)
    return most


class Deep(nn.Module):
    """A wide front, a narrow layer, and a small tail."""

    def __init__(self):
        super().__init__()
        self.front = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(inplace=True))
        self.narrow = nn.Conv2d(32, 4, 3, stride=4, padding=1)
        self.after = nn.Conv2d(4, 8, 3, padding=1)
        self.head = nn.Linear(8, 3)

    def tail(self, a):
        return self.head(torch.relu(self.after(torch.relu(a))).mean((2, 3)))

    def forward(self, x):
        return self.tail(self.narrow(self.front(x)))


@torch.no_grad()
def test_many_replays_at_once_hold_no_more_than_the_tail():
    torch.manual_seed(0)
    net = Deep().eval()
    rest = Replay(net, torch.randn(1, 3, 64, 64), "narrow")
    many = torch.randn(40, 4, 16, 16)
    assert torch.equal(rest(many), net.tail(many))
    # What the front put out, 0.5 MB, stands for all 40 without being copied 40 times.
    assert peak(lambda: rest(many)) <= 1.05 * peak(lambda: net.tail(many))


def test_channels_last_stays_so_before_and_behind_the_layer():
    torch.manual_seed(0)
    net = Deep().eval().to(memory_format=torch.channels_last)
    x = torch.randn(2, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    seen = []
    net.after.register_forward_pre_hook(
        lambda module, args: seen.append(args[0].is_contiguous(memory_format=torch.channels_last))
    )
    with torch.no_grad():
        output = net(x)
        rest = Replay(net, x, "narrow")
        assert rest.activations.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(rest(rest.activations), output)
    assert seen == [True] * 4


class Shared(nn.Module):
    """One block for three calls, an in-place sum with what an earlier call gave, and two names for one layer."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.block = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(inplace=True))
        self.again = self.block
        self.head = nn.Linear(4, 3)

    def tail(self, first, third):
        first += third
        return self.head(first.mean((2, 3)))

    def forward(self, x):
        first = self.block(self.stem(x))
        second = self.again(first)
        return self.tail(first, self.block(second))


@pytest.mark.parametrize("times", [1, 4])
def test_of_a_block_that_runs_three_times_the_last_call_is_replaced(times):
    torch.manual_seed(0)
    net, x = Shared().eval(), torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        first = net.block(net.stem(x))
        rest = Replay(net, x, "block")
        assert torch.equal(rest(rest.activations), net(x))
        changed = torch.randn(2 * times, 4, 8, 8)
        expected = net.tail(first.repeat(times, 1, 1, 1), changed)
        for _ in range(2):  # the sum in place leaves the record as it was
            torch.testing.assert_close(rest(changed), expected)


@torch.no_grad()
def test_a_call_inside_a_shared_block_is_that_of_its_last():
    torch.manual_seed(0)
    net, x = Shared().eval(), torch.randn(1, 3, 8, 8)
    first = net.block(net.stem(x))
    rest = Replay(net, x, "block.0")
    changed = torch.randn_like(rest.activations)
    torch.testing.assert_close(rest(changed), net.tail(first, changed.relu()))


class Two(nn.Module):
    """Two images, or a dict of two, with a body of their own for each."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4, 2)

    def forward(self, left, right=None):
        if isinstance(left, dict):
            left, right = left["left"], left["right"]
        return self.head((self.left(left) * self.right(right).relu()).mean((2, 3)))


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("as_dict", [False, True])
@torch.no_grad()
def test_networks_of_several_inputs(as_dict, times):
    torch.manual_seed(0)
    net, left, right = Two().eval(), torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8)
    rest = Replay(net, {"left": left, "right": right} if as_dict else (left, right), "left")
    assert torch.equal(rest.output, net(left, right))
    changed = torch.randn(2 * times, 4, 6, 6)
    beside = net.right(right).relu().repeat(times, 1, 1, 1)
    torch.testing.assert_close(rest(changed), net.head((changed * beside).mean((2, 3))))


class OneByOne(nn.Module):
    """Goes through its images one by one."""

    def __init__(self, form):
        super().__init__()
        self.a, self.b, self.fc = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3), nn.Linear(5, 3)
        self.form = form

    def one(self, x):
        return self.fc(self.b(self.a(x).relu()).relu().mean((2, 3)))

    def forward(self, x):
        rows = [self.one(image[None]) for image in x]
        if self.form == "stacked":  # whose first copy alone would be seen, k times
            return torch.stack([row[0] for row in rows])
        return {"scores": torch.cat(rows)} if self.form == "dict" else [{"scores": row[0]} for row in rows]


@pytest.mark.parametrize("form", ["stacked", "dict", "list"])
def test_images_that_go_through_one_by_one_replay_one_by_one(form):
    torch.manual_seed(0)
    net, x = OneByOne(form).eval(), torch.randn(1, 3, 9, 9)
    rest = Replay(net, x, "b")
    changed = torch.randn(4, *rest.activations.shape[1:])
    found = rest(changed)
    rows = net.fc(changed.relu().mean((2, 3)))
    if form == "list":
        assert len(found) == 4
        found = torch.stack([each["scores"] for each in found])
    assert not rest.at_once
    assert torch.allclose(found["scores"] if form == "dict" else found, rows, atol=1e-6)


def test_a_batch_that_goes_through_as_one_replays_as_one():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(196, 2)).eval()
    assert Replay(net, torch.randn(1, 3, 9, 9), "0").at_once
