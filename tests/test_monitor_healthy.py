"""What healthy trainings have in them and is no fault."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import viztool


def findings(net, batch, steps=8, every=1):
    """All that is said while a network learns to give `batch()`'s second from its first, by the last sample."""
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    said = set()

    def keep(health, sample):
        said.update((finding.kind, finding.layer) for finding in health.findings)

    with viztool.monitor(net, optimizer, every=every, quiet=True, on_sample=keep) as health:
        for _ in range(steps):
            x, wanted = batch()
            optimizer.zero_grad()
            F.mse_loss(net(x), wanted).backward()
            optimizer.step()
    assert health._engine.failed == ""
    return said


class Squeezed(nn.Module):
    """A squeeze-and-excitation block: a channel's factor is made of the means of all."""

    def __init__(self):
        super().__init__()
        self.conv, self.down, self.up = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 8, 1), nn.Conv2d(8, 16, 1)
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        x = self.conv(x)
        return self.head((x * self.up(self.down(x.mean((2, 3), keepdim=True))).sigmoid()).mean((2, 3)))


@pytest.mark.parametrize("size", [2, 3, 8])
def test_a_few_images_have_few_directions_and_that_is_no_collapse(size):
    torch.manual_seed(size)
    assert findings(Squeezed(), lambda: (torch.randn(size, 3, 8, 8), torch.randn(size, 4)), 40) == set()


@pytest.mark.parametrize(("size", "steps"), [(8, 5), (4, 10), (2, 25)])
def test_a_collapse_of_small_batches_is_told_from_several_samples(size, steps):
    torch.manual_seed(size)
    net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.Flatten(), nn.Linear(256, 4))

    def batch():
        return torch.randn(size, 3, 8, 8), torch.randn(size, 4)

    assert findings(net, batch, 40) == set()
    with torch.no_grad():
        net[2].weight.copy_(net[2].weight[:1].expand_as(net[2].weight))
        net[2].bias.zero_()
    assert findings(net, batch, 2) == set()  # of so few images nothing is said
    assert findings(net, batch, steps) == {("collapsed-features", "2")}


@pytest.mark.parametrize("scale", [(1.0,), (1.0, 0.05)])
def test_a_regression_of_one_number_has_one_direction_and_that_is_no_collapse(scale):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(len(scale), 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))

    def batch():
        x = torch.rand(64, len(scale)) * torch.tensor(scale)
        return x, x[:, :1].sin()

    assert findings(net, batch) == set()


def test_one_channel_under_a_kernel_has_many_directions_and_equal_kernels_are_a_collapse():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4))
    with torch.no_grad():
        net[0].weight.copy_(net[0].weight[:1].expand(8, -1, -1, -1))
        net[0].bias.zero_()
    assert ("collapsed-features", "0") in findings(net, lambda: (torch.randn(32, 1, 8, 8), torch.randn(32, 4)), 3)


@pytest.mark.parametrize(("units", "said"), [(4, set()), (7, set()), (8, {("collapsed-features", "0")})])
def test_a_few_units_that_are_alike_are_no_collapse(units, said):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(16, units), nn.Linear(units, 32), nn.ReLU(), nn.Linear(32, 4))
    with torch.no_grad():
        net[0].weight.copy_(net[0].weight[:1] + 0.3 * net[0].weight)
    assert findings(net, lambda: (torch.randn(32, 16), torch.randn(32, 4))) == said


@pytest.mark.parametrize(("factor", "said"), [(1e-2, set()), (1e-5, {("update-too-small", "2")})])
def test_a_layer_may_learn_a_hundred_times_as_slowly_as_the_others(factor, said):
    """So do the first layers of squeeze-and-excitation in a MobileNetV3 that learns."""
    torch.manual_seed(0)
    net = nn.Sequential(
        *(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.Linear(8, 4))
    ).double()
    own = list(net[2].parameters())
    others = [each for each in net.parameters() if all(each is not mine for mine in own)]
    optimizer = torch.optim.SGD([{"params": others}, {"params": own, "lr": 1e-3 * factor}], 1e-3)
    with viztool.monitor(net, optimizer, every=1, quiet=True) as health:
        for _ in range(6):
            optimizer.zero_grad()
            F.mse_loss(net(torch.randn(32, 8).double()), torch.randn(32, 4).double()).backward()
            optimizer.step()
    assert 0 < health.numbers["layers"]["2"]["update"] < 1e-6
    assert {(finding.kind, finding.layer) for finding in health.findings} == said


class Tokens(nn.Module):
    """Like BERT: tokens, places that are one row for all, and a segment that is 0 everywhere."""

    def __init__(self):
        super().__init__()
        self.token, self.place, self.segment = nn.Embedding(30, 16), nn.Embedding(6, 16), nn.Embedding(2, 16)
        self.norm, self.wide, self.relu, self.out = nn.LayerNorm(16), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4)

    def forward(self, x):
        places = torch.arange(6).expand(len(x), 6)
        x = self.norm(self.token(x) + self.place(places) + self.segment(torch.zeros_like(x)))
        return self.out(self.relu(self.wide(x))).mean(1)


def tokens():
    return torch.randint(0, 30, (32, 6)), torch.randn(32, 4)


def test_an_embedding_of_what_is_the_same_for_all_images_is_no_fault_and_hides_none():
    torch.manual_seed(0)
    net = Tokens()
    assert findings(net, tokens) == set()
    with torch.no_grad():
        net.wide.bias[:24] = -100
    assert findings(net, tokens) == {("dead-units", "relu")}


def test_tokens_that_are_all_alike_are_told_of_the_first_layer():
    torch.manual_seed(0)
    assert findings(Tokens(), lambda: (torch.full((32, 6), 7), torch.randn(32, 4))) >= {("constant-output", "token")}


def test_a_constant_layer_that_has_a_way_around_it_hides_no_fault_behind_it():
    class Around(nn.Module):
        def __init__(self):
            super().__init__()
            self.branch, self.wide, self.relu, self.out = nn.Linear(8, 8), nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4)

        def forward(self, x):
            return self.out(self.relu(self.wide(x + self.branch(x))))

    torch.manual_seed(0)
    net = Around()
    with torch.no_grad():
        net.branch.weight.zero_()
        net.wide.bias[:24] = -100
    net.branch.weight.requires_grad_(False)
    said = findings(net, lambda: (torch.randn(32, 8), torch.randn(32, 4)))
    assert said == {("constant-output", "branch"), ("dead-units", "relu")}
