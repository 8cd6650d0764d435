"""What is measured, beside slow and plain oracles."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monitor_nets import batches, small, train
from torch import nn
from torch.nn import functional as F

import viztool
from viztool.monitor import measures
from viztool.monitor.measured import Measured, joined
from viztool.monitor.pool import Pool
from viztool.monitor.quantities import QUANTITIES
from viztool.monitor.sample import Sample, as_array
from viztool.monitor.updates import noise_scale


def sampled(net, optimizer, x, labels):
    """The numbers of one step."""
    with viztool.monitor(net, optimizer, every=1, quiet=True) as health:
        optimizer.zero_grad()
        F.cross_entropy(net(x), labels).backward()
        optimizer.step()
    assert health._engine.failed == ""
    return health.numbers


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_moments_gradients_and_updates_are_those_of_the_step(dtype):
    net = small(dropout=0.0).to(dtype)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    x, labels = next(batches(1))
    x = x.to(dtype)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    kept = {}

    def keep(name):
        def hook(module, args, output):
            kept[name] = output.clone()
            output.register_hook(lambda gradient: kept.__setitem__(f"{name} gradient", gradient.clone()))

        return hook

    handles = [module.register_forward_hook(keep(name)) for name, module in net.named_children()]
    found = sampled(net, optimizer, x, labels)
    for handle in handles:
        handle.remove()
    for name in ("0", "1", "2", "3", "4", "8"):
        numbers, output = found["layers"][name], kept[name].detach().double()
        assert numbers["mean"] == pytest.approx(output.mean().item(), abs=1e-5)
        assert numbers["sd"] == pytest.approx(output.std(unbiased=False).item(), rel=1e-4)
        assert numbers["gradient"] == pytest.approx(kept[f"{name} gradient"].norm().item(), rel=1e-4)
        assert numbers["varies"] == pytest.approx(
            (output.var(0).sum() / output.square().mean(0).sum()).sqrt().item(), rel=1e-3
        )
    weight = dict(net.named_parameters())["3.weight"].detach()
    assert found["layers"]["3"]["update"] == pytest.approx(
        ((weight - before["3.weight"]).norm() / before["3.weight"].norm()).item(), rel=1e-4
    )
    gradients = torch.cat([net[3].weight.grad.flatten(), net[3].bias.grad])
    assert found["layers"]["3"]["weight gradient"] == pytest.approx(gradients.norm().item(), rel=1e-4)
    assert found["layers"]["2"]["dead"] == (kept["2"].amax((0, 2, 3)) <= 0).float().mean()
    assert found["network"]["input mean"] == pytest.approx(x.mean().item(), abs=1e-4)
    assert found["network"]["input sd"] == pytest.approx(x.std().item(), rel=1e-3)


def rank_of(x):
    return measures.effective_rank(measures.correlations(x), len(x))


def test_effective_rank_is_the_participation_ratio_of_the_eigenvalues():
    x = torch.randn(64, 12, 4) @ torch.randn(4, 4)
    x[:, 6:] = x[:, :6] * 3 + 0.1 * torch.randn(64, 6, 4)
    rank, units, images = rank_of(x)
    vectors = x.transpose(1, 2).flatten(0, 1).double().numpy()
    values = np.linalg.eigvalsh(np.corrcoef(vectors.T))
    assert rank.item() == pytest.approx(values.sum() ** 2 / (values**2).sum(), rel=1e-4)
    assert (units.item(), images.item()) == (12, 64)
    same = torch.randn(64, 1, 4).expand(64, 12, 4)
    assert rank_of(same)[0].item() == pytest.approx(1, abs=1e-5)
    assert rank_of(torch.ones(8, 5, 3)).tolist() == [0, 0, 8]


def test_the_directions_of_what_is_given_are_those_of_its_covariance():
    x = torch.randn(64, 12, 4) * torch.linspace(0.1, 3, 12)[:, None]
    values = np.linalg.eigvalsh(np.cov(x.transpose(1, 2).flatten(0, 1).double().numpy().T))
    assert measures.directions(measures.covariances(x)).item() == pytest.approx(
        values.sum() ** 2 / (values**2).sum(), rel=1e-4
    )
    assert measures.directions(measures.covariances(torch.randn(64, 1, 4))).item() == pytest.approx(1, abs=1e-5)


def test_small_batches_together_tell_of_as_many_directions_as_a_large_one():
    mixed = torch.randn(12, 12).double()

    def of(count, size):
        pool = Pool()
        for _ in range(count):
            units = (torch.randn(size, 12).double() @ mixed + 5 * torch.randn(12)).float()  # each about its own mean
            matrix, images = pool.add("a", measures.correlations(units[:, :, None]), size)
        return measures.effective_rank(matrix, images)[0].item(), images

    whole, _ = of(1, 4000)
    assert of(1, 4000)[1] == 4000
    assert [of(count, 8)[1] >= 16 for count in (1, 2, 3)] == [False, False, True]
    assert of(200, 8)[1] == pytest.approx(32, abs=1) and of(400, 2)[1] == pytest.approx(33, abs=1)
    assert np.mean([of(40, 8)[0] for _ in range(20)]) == pytest.approx(of(1, 33)[0], rel=0.25)
    assert np.mean([of(40, 8)[0] for _ in range(20)]) > 0.6 * whole > 0.6 * 3
    pool = Pool()
    pool.add("a", torch.full((12, 12), torch.nan), 8)
    assert bool(pool.add("a", torch.eye(12), 8)[0].isfinite().all())  # what was no number is not kept


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_values_that_are_no_numbers_are_counted(bad):
    x = torch.randn(4, 3, 5, 5)
    x[1, 2, 3, :2] = bad
    x[0, 0, 0, 0] = -torch.inf
    assert measures.moments(x)[0].item() == 3
    assert measures.moments(torch.randn(4, 3))[0].item() == 0


def test_saturated_is_within_one_percent_of_a_bound():
    x = torch.tensor([0.0, 0.005, 0.02, 0.5, 0.98, 0.995, 1.0])
    assert measures.saturated(x, 0.0, 1.0).tolist() == [4, 7]
    assert measures.saturated(6 * x, None, 6.0).tolist() == [2, 7]
    assert measures.bounds_of(nn.Hardtanh(-2, 3)) == (-2, 3)
    assert measures.bounds_of(nn.ReLU6()) == (None, 6.0)


@pytest.mark.parametrize("batch_first", [True, False])
def test_the_attention_that_a_layer_does_not_tell_is_its_own(batch_first):
    layer = nn.MultiheadAttention(8, 2, batch_first=batch_first)
    x = torch.randn(3, 5, 8)
    own = x if batch_first else x.transpose(0, 1)
    _, weights = layer(own, own, own, average_attn_weights=False)
    assert torch.allclose(measures.attention_of(layer, own, own), weights, atol=1e-6)


def test_drift_of_running_statistics_is_in_standard_deviations():
    norm = nn.BatchNorm2d(3, eps=0)
    x = torch.randn(50, 3, 40)
    x = (x - x.mean((0, 2), keepdim=True)) / x.std((0, 2), keepdim=True, unbiased=False)
    assert measures.drift_of_norm(x, norm).item() == pytest.approx(0, abs=1e-5)
    assert measures.drift_of_norm(x + 2, norm).item() == pytest.approx(2, abs=1e-5)
    assert measures.drift_of_norm(x * np.e, norm).item() == pytest.approx(1, abs=1e-5)


def test_the_gradient_noise_scale_is_that_of_its_definition():
    random = torch.Generator().manual_seed(0)
    signal, noise, batch, count = 1.0, 4.0, 8, 4
    found = []
    for _ in range(4000):
        each = 0.5 + (noise / 4 / batch) ** 0.5 * torch.randn(count, 4, generator=random)  # |G|² = 1, tr Σ = 4
        first, total = each[0] / count, each.sum(0) / count
        found.append(noise_scale(first.square().sum().item(), total.square().sum().item(), batch, count))
    means = np.mean(found, 0)
    assert means[0] == pytest.approx(noise, rel=0.05)
    assert means[1] == pytest.approx(signal, rel=0.05)


def test_accumulated_steps_give_a_noise_scale_and_count_all_images():
    net = small(dropout=0.0)
    optimizer = torch.optim.SGD(net.parameters(), 0.01)
    with viztool.monitor(net, optimizer, every=1, quiet=True) as health:
        for at, (x, labels) in enumerate(batches(24)):
            (F.cross_entropy(net(x), labels) / 4).backward()
            if at % 4 == 3:
                optimizer.step()
                optimizer.zero_grad()
    assert health.numbers["network"]["images"] == 64
    assert health.numbers["network"]["forwards"] == 4
    assert health.noise_scale is None or health.noise_scale > 0
    assert {"noise", "signal"} <= set(health.run.network)


def test_a_shared_module_has_a_row_for_each_of_its_calls():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.act, self.head = nn.Linear(6, 4), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)

        def forward(self, x):
            return self.head(self.act(self.two(self.act(self.one(x)))))

    net = Shared()
    with torch.no_grad():
        net.two.bias.fill_(-100)
    optimizer = torch.optim.SGD(net.parameters(), 0.01)
    with viztool.monitor(net, optimizer, every=1, quiet=True) as health:
        for _ in range(3):
            optimizer.zero_grad()
            net(torch.randn(16, 6)).square().sum().backward()
            optimizer.step()
    assert [name for name, _ in health.run.layers] == ["one", "act", "two", "act#2", "head"]
    assert [(finding.kind, finding.layer) for finding in health.findings] == [("dead-units", "act")]
    assert "8 of 8 units (call 2) were never above 0 in 48 images" in health.findings[0].evidence


def test_the_loss_is_kept_where_it_is_given():
    net = small()
    optimizer = torch.optim.SGD(net.parameters(), 0.05)
    with viztool.monitor(net, optimizer, every=2, quiet=True) as health:
        losses = train(net, optimizer, 5, record=health.record)
    assert health.run.network["loss"] == pytest.approx(losses[::2], rel=1e-3)
    assert health.run.network["lr of group 0"].tolist() == pytest.approx([0.05] * 3)


def test_numbers_without_bounds_are_added_and_kept_where_warnings_are_errors():
    one, other = (Measured({"sum": (np.array([sign * np.inf]), "sum")}) for sign in (1, -1))
    one.add(other)
    assert np.isnan(one.values["sum"][0]).all()
    row = as_array(Sample(0, 0.0, {"0": {"surge": 1e39}}), ["0"])
    assert row[list(QUANTITIES).index("surge"), 0] == np.inf


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize(("mean", "dtype"), [(0, torch.float32), (100, torch.float32), (1, torch.bfloat16)])
def test_a_standard_deviation_beside_a_large_mean_is_right(mean, dtype, parts):
    x = (mean + 0.0579 * torch.randn(48, 8, 20, 20)).to(dtype)
    x[:16] += 0.125
    every = [measures.moments(part) for part in x.chunk(parts)]
    tensors, arrays = every[0], every[0].double().numpy()
    for each in every[1:]:
        tensors, arrays = torch.stack(joined(tensors, each)), np.stack(joined(arrays, each.double().numpy()))
    for found in (tensors, arrays):
        assert float(found[1]) == x.numel()
        assert float(found[2]) == pytest.approx(x.double().mean().item(), rel=1e-5, abs=1e-6)
        assert float(found[3] / found[1]) ** 0.5 == pytest.approx(x.double().std().item(), rel=1e-3)


def test_the_standard_deviation_that_is_logged_is_right_beside_a_large_mean():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Identity(), nn.Linear(40, 64))
    with torch.no_grad():
        net[1].weight.mul_(0.1)
        net[1].bias.fill_(100)
    x = torch.randn(64, 40)
    wanted = net(x).double().std().item()
    found = sampled(net, torch.optim.SGD(net.parameters(), 0.01), x, torch.randint(64, (64,)))
    assert found["layers"]["1"]["sd"] == pytest.approx(wanted, rel=2e-3)
