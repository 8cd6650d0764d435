"""The monitor among other tools: compiled, mixed precision, accumulation, closures, several processes, loggers."""

from __future__ import annotations

import copy
import subprocess
import sys
import textwrap

import pytest
import torch
from monitor_nets import batches, small, train
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import viztool
from viztool.errors import ModelError, SettingError
from viztool.monitor import read_log


def dead(net):
    with torch.no_grad():
        net[1].bias[:6] = -100
    return net


def told(health):
    assert health._engine.failed == ""
    return [(finding.kind, finding.layer) for finding in health.findings]


@pytest.mark.filterwarnings("ignore:Guards may run slower:RuntimeWarning")  # dynamo, on Python 3.13.0
@pytest.mark.parametrize("way", ["wrapper", "method", "after"])
def test_compiled_networks_are_watched_under_their_own_names(way):
    torch._dynamo.reset()
    net = dead(small(dropout=0.0))
    optimizer = torch.optim.SGD(net.parameters(), 0.01)
    health = viztool.monitor(net, optimizer, every=3, quiet=True) if way == "after" else None
    if way == "method":
        net.compile(backend="aot_eager")
        runs = net
    else:
        runs = torch.compile(net, backend="aot_eager")
    health = health or viztool.monitor(runs, optimizer, every=3, quiet=True)
    losses = train(runs, optimizer, 9)
    health.close()
    assert told(health) == [("dead-units", "2")]
    assert [name for name, _ in health.run.layers] == ["0", "1", "2", "3", "4", "8"]
    torch.manual_seed(0)
    twin = dead(small(dropout=0.0))
    assert len(losses) == len(train(twin, torch.optim.SGD(twin.parameters(), 0.01), 9))


class Halves(torch.amp.GradScaler):
    """A scaler that finds the first gradients too large, as real ones do in float16."""

    def __init__(self):
        super().__init__("cpu", init_scale=2.0**36, growth_interval=1000)


def test_steps_that_a_scaler_leaves_out_are_not_counted_and_are_no_fault():
    net = small(dropout=0.0)
    optimizer = torch.optim.SGD(net.parameters(), 0.01)
    scaler = Halves()
    made = []
    optimizer.register_step_post_hook(lambda *_: made.append(1))
    said = []
    with viztool.monitor(net, optimizer, every=1, on_sample=lambda health, _: said.append(health.findings)) as health:
        for x, labels in batches(60):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.float16):
                loss = F.cross_entropy(net(x), labels)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
    assert 0 < len(made) < 60
    assert told(health) == []
    assert health.run.samples == len(made) == len(said)
    assert health.run.network["images"].max() == 16
    assert not any(said)


def test_what_checkpointing_runs_again_is_not_counted():
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.Sequential(nn.Conv2d(8, 8, 3), nn.ReLU()), nn.Flatten(), nn.Linear(128, 5)
    )

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = net

        def forward(self, x):
            x = self.parts[0](x)
            x = checkpoint(self.parts[1], x, use_reentrant=False)
            return self.parts[3](self.parts[2](x))

    whole = Net()
    optimizer = torch.optim.SGD(whole.parameters(), 0.01)
    with viztool.monitor(whole, optimizer, every=1, quiet=True) as health:
        train(whole, optimizer, 3)
    assert [name for name, _ in health.run.layers] == ["parts.0", "parts.1.0", "parts.1.1", "parts.3"]
    assert all(numbers["gradient"] > 0 for numbers in health.numbers["layers"].values())


def test_a_closure_is_one_step_of_its_last_evaluation():
    net = small(dropout=0.0)
    optimizer = torch.optim.LBFGS(net.parameters(), 0.1, max_iter=4)
    with viztool.monitor(net, optimizer, every=1, quiet=True) as health:
        for x, labels in batches(3):

            def closure(x=x, labels=labels):
                optimizer.zero_grad()
                loss = F.cross_entropy(net(x), labels)
                loss.backward()
                return loss

            optimizer.step(closure)
    assert health.run.steps.tolist() == [0, 1, 2]
    assert health.run.network["images"].tolist() == [16, 16, 16]
    assert all(health.run.values["update"][:, 0] > 0)
    assert told(health) == []


class Own(torch.optim.SGD):
    """One that adds to a step of its parent's; the first of them fails."""

    fails = False

    def step(self, closure=None):
        if self.fails:
            self.fails = False
            raise RuntimeError("no room")
        return super().step(closure)


@pytest.mark.parametrize("fails", [False, True])
def test_a_step_that_calls_its_parents_is_one(fails):
    net = small()
    torch.optim.SGD(net.parameters(), 0.01)  # from now on the parent's step calls hooks, too
    optimizer = Own(net.parameters(), 0.01)
    optimizer.fails = fails
    with viztool.monitor(net, optimizer, every=5, quiet=True) as health:
        if fails:
            with pytest.raises(RuntimeError, match="no room"):
                optimizer.step()
        train(net, optimizer, 20)
    assert told(health) == []
    assert health.run.steps.tolist() == [0, 5, 10, 15]
    assert (health.run.values["update"][:, [0, 3]] > 0).all()


def test_layers_of_several_optimizers_are_all_updated():
    net = small()
    optimizers = [torch.optim.SGD(net[:4].parameters(), 0.01), torch.optim.Adam(net[4:].parameters(), 1e-3)]
    with viztool.monitor(net, optimizers, every=1, quiet=True) as health:
        for x, labels in batches(6):
            for optimizer in optimizers:
                optimizer.zero_grad()
            F.cross_entropy(net(x), labels).backward()
            for optimizer in optimizers:
                optimizer.step()
    assert health._engine.failed == ""
    assert health.numbers["network"]["lr of group 1"] == pytest.approx(1e-3)
    assert all(health.run.values["update"][2, [0, 3]] > 0)


@pytest.mark.parametrize(("often", "every"), [(5, 50), (5, 1), (0, 50)])
def test_an_optimizer_that_makes_a_step_now_and_then_is_no_fault(often, every):
    torch.manual_seed(0)
    net = nn.ModuleDict({"makes": nn.Linear(4, 4), "judges": nn.Linear(4, 1)})
    makes, judges = (torch.optim.SGD(each.parameters(), 0.01) for each in net.values())
    ever = []
    with viztool.monitor(
        net, [judges, makes], every=every, quiet=True, on_sample=lambda health, _: ever.extend(health.findings)
    ) as health:
        for step in range(201):
            judges.zero_grad()
            (
                net["judges"](net["makes"](torch.randn(32, 4)).detach()) - net["judges"](torch.randn(32, 4))
            ).mean().backward()
            judges.step()
            if often and step % often == often - 1:
                makes.zero_grad()
                net["judges"](net["makes"](torch.randn(32, 4))).mean().neg().backward()
                makes.step()
    assert health._engine.failed == ""
    idle = [(each.layer, each.evidence) for each in ever if each.kind == "never-updated"]
    said = "none of its parameters moved in the steps of 3 samples: their optimizer makes no step"
    assert idle == ([] if often else [("makes", said)])


def test_a_network_that_is_only_ever_called_in_parts_is_watched():
    net = dead(small())
    optimizer = torch.optim.SGD(net.parameters(), 0.01)
    with viztool.monitor(net, optimizer, every=1, quiet=True) as health:
        for x, labels in batches(4):
            optimizer.zero_grad()
            F.cross_entropy(net[4:](net[:4](x)), labels).backward()
            optimizer.step()
    assert told(health) == [("dead-units", "2")]


DDP = """
    import sys, torch, torch.distributed as dist, torch.multiprocessing as mp
    sys.path.insert(0, {tests!r})
    from monitor_nets import batches, small
    from torch.nn import functional as F
    import viztool

    def work(rank, watched, folder):
        dist.init_process_group("gloo", init_method=f"file://{{folder}}/meet{{watched}}", rank=rank, world_size=2)
        torch.manual_seed(0)
        net = small(dropout=0.0)
        with torch.no_grad():
            net[1].bias[:6] = -100
        ddp = torch.nn.parallel.DistributedDataParallel(net)
        optimizer = torch.optim.SGD(net.parameters(), 0.01)
        health = viztool.monitor(ddp, optimizer, every=2, log=f"{{folder}}/run.jsonl", quiet=True) if watched else None
        for x, labels in batches(7, seed=rank):
            optimizer.zero_grad()
            F.cross_entropy(ddp(x), labels).backward()
            optimizer.step()
        if health:
            health.close()
            assert not health._engine.failed, health._engine.failed
            assert [f.kind for f in health.findings] == ["dead-units"], health.findings
            assert health.numbers["network"]["images"] == 32
        if rank == 0:
            torch.save(net.state_dict(), f"{{folder}}/net{{watched}}.pt")
        dist.destroy_process_group()

    if __name__ == "__main__":
        for watched in (0, 1):
            mp.start_processes(work, (watched, {folder!r}), nprocs=2, start_method="fork")
"""


def test_two_processes_put_their_numbers_together_and_the_first_writes(tmp_path):
    from pathlib import Path

    script = tmp_path / "ddp.py"
    script.write_text(textwrap.dedent(DDP.format(tests=str(Path(__file__).parent), folder=str(tmp_path))))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = (torch.load(tmp_path / f"net{watched}.pt", weights_only=True) for watched in (0, 1))
    assert all(torch.equal(one[name], two[name]) for name in one)
    report = read_log(tmp_path / "run.jsonl")
    assert report.run.steps.tolist() == [0, 2, 4, 6]
    assert "in 96 images" in report.findings[0].evidence


def test_fsdp_is_refused_in_one_line():
    class FSDPModule:
        pass

    class Sharded(nn.Linear, FSDPModule):
        pass

    net = nn.Sequential(Sharded(2, 2))
    with pytest.raises(ModelError, match=r"^the network is sharded \(FSDP\), so no process has its whole layers; mon"):
        viztool.monitor(net, torch.optim.SGD(net.parameters(), 0.1))


@pytest.mark.parametrize(
    ("optimizer", "every", "said"),
    [
        ("adam", 50, "monitor needs the optimizer .torch.optim.Optimizer. or a list of them, got str"),
        ([], 50, "or a list of them, got nothing"),
        ([None], 50, "or a list of them, got nothing"),
        (None, 0, "every is a number of steps, 1 or more, not 0"),
    ],
)
def test_wrong_usage_is_said_at_once(optimizer, every, said):
    net = small()
    own = torch.optim.SGD(net.parameters(), 0.1)
    with pytest.raises(SettingError, match=said):
        viztool.monitor(net, own if optimizer is None else optimizer, every=every)


def test_no_optimizer_is_told_in_one_line():
    with pytest.raises(SettingError, match=r"^monitor needs the optimizer .*, got nothing$"):
        viztool.monitor(small(), None)


@pytest.mark.parametrize("value", [None, "abc", [], {}, 10**400, torch.tensor([]), torch.tensor(1j)])
def test_what_is_no_number_is_not_recorded_and_said_once(value):
    net = small()
    optimizer = torch.optim.SGD(net.parameters(), 0.01)
    numberless = pytest.warns(UserWarning, match=r"record\(loss=...\) takes a number, not .*; it is left out")
    with viztool.monitor(net, optimizer, every=1, quiet=True) as health, numberless as said:
        train(net, optimizer, 3, before=lambda _: health.record(loss=value, other=2))
    assert len(said) == 1
    assert told(health) == []
    assert health.numbers["network"]["other"] == 2
    assert "loss" not in health.numbers["network"]


def traced(net):
    torch.jit.trace(net.eval(), torch.ones(2, 3, 8, 8))
    net.train()


def gradient_of_each(net):
    def loss(parameters, x):
        return torch.func.functional_call(net, parameters, (x[None],)).sum()

    net.eval()
    torch.func.vmap(torch.func.grad(loss), (None, 0))(dict(net.named_parameters()), torch.ones(2, 3, 8, 8))
    net.train()


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning", "ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("use", [traced, gradient_of_each])
def test_a_network_that_is_traced_or_transformed_between_two_steps_is_watched_on(use):
    net = small(dropout=0.0)
    optimizer = torch.optim.SGD(net.parameters(), 0.01)
    with viztool.monitor(net, optimizer, every=1, quiet=True) as health:
        train(net, optimizer, 3, before=lambda _: use(net))
    assert told(health) == []
    assert health.run.network["images"].tolist() == [16, 16, 16]


def test_tensorboard_gets_every_number(tmp_path):
    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    net = dead(small())
    optimizer = torch.optim.SGD(net.parameters(), 0.01)
    writer = tensorboard.SummaryWriter(str(tmp_path))
    with viztool.monitor(
        net, optimizer, every=2, quiet=True, on_sample=viztool.monitor.to_tensorboard(writer)
    ) as health:
        train(net, optimizer, 6)
    writer.close()
    found = reading.EventAccumulator(str(tmp_path)).Reload()
    scalars = found.Scalars("health/dead/2")
    assert [(each.step, each.value) for each in scalars] == [(0, 0.75), (2, 0.75), (4, 0.75)]
    assert [each.value for each in found.Scalars("health/findings")] == [0, 0, 1]
    assert told(health) == [("dead-units", "2")]


LIGHTNING = """
    import sys, warnings, torch
    sys.path.insert(0, {tests!r})
    import lightning.pytorch as L
    from monitor_nets import batches, small
    import viztool

    class Module(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = small()
            with torch.no_grad():
                self.net[1].bias[:6] = -100
        def training_step(self, batch, _):
            return torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.01)

    watch = viztool.monitor.LightningMonitor(every=2, log={folder!r} + "/run.jsonl", quiet=True)
    assert isinstance(watch, L.Callback)
    trainer = L.Trainer(max_epochs=1, logger=False, enable_progress_bar=False, callbacks=[watch], accelerator="cpu",
                        enable_model_summary=False, default_root_dir={folder!r})
    trainer.fit(Module(), torch.utils.data.DataLoader(list(batches(8)), batch_size=None))
    assert not watch.health._engine.failed, watch.health._engine.failed
    print([(f.kind, f.layer) for f in watch.health.findings], watch.health.run.samples, watch.state_dict()["step"])
"""


def test_lightning_has_a_callback(tmp_path):
    from pathlib import Path

    pytest.importorskip("lightning.pytorch")
    script = textwrap.dedent(LIGHTNING.format(tests=str(Path(__file__).parent), folder=str(tmp_path)))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip().endswith("[('dead-units', 'net.2')] 4 8")


def test_a_model_and_a_copy_of_a_watched_network_work():
    net = dead(small())
    optimizer = torch.optim.SGD(net.parameters(), 0.01)
    with viztool.monitor(viztool.wrap_model(net, size=8), optimizer, every=50, quiet=True) as health:
        train(net, optimizer, 2)
        copy.deepcopy(net)(torch.randn(2, 3, 8, 8))
    assert health.run.samples == 1
