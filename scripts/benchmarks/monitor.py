"""Rows about `viztool.monitor`, beside the same training without it and with full histograms."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import viztool
from benchmarks.contest import Contest, Work, cpu_seconds, row
from benchmarks.memory import peak_memory
from viztool.monitor.report import read_log

PLAIN = "the same steps, not watched"


class Block(nn.Module):
    """A basic block of a ResNet."""

    def __init__(self, inside: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.down = nn.Identity() if inside == width else nn.Conv2d(inside, width, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.down(x))


def residual() -> nn.Module:
    """A ResNet-18 for 32 pixels, of half its width: a step of it takes a second here, and not four."""
    widths = [
        (32, 32, 1),
        (32, 32, 1),
        (32, 64, 2),
        (64, 64, 1),
        (64, 128, 2),
        (128, 128, 1),
        (128, 256, 2),
        (256, 256, 1),
    ]
    blocks = [Block(*each) for each in widths]
    stem = [nn.Conv2d(3, 32, 3, 1, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(inplace=True)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 10))


def fifty() -> nn.Module:
    """Fifty convolutions with their ReLUs, at 16 pixels."""
    layers = [each for _ in range(48) for each in (nn.Conv2d(32, 32, 3, 1, 1), nn.ReLU(inplace=True))]
    ends = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)
    return nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1), nn.ReLU(inplace=True), *layers, *ends)


def training(build: Callable[[], nn.Module], steps: int) -> tuple[nn.Module, torch.optim.Optimizer, Work]:
    """A network, its optimizer, and so many steps of a batch of 64."""
    torch.manual_seed(0)
    net = build()
    optimizer = torch.optim.SGD(net.parameters(), 1e-4, momentum=0.9)
    x, labels = torch.randn(64, 3, 32, 32), torch.randint(10, (64,))

    def work() -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(net(x), labels).backward()
            optimizer.step()

    return net, optimizer, work


def sampled_step(build: Callable[[], nn.Module], every: int) -> Contest:
    """A step that is sampled, beside one that is not; told is what that comes to of `every` steps."""
    net, optimizer, plain = training(build, 1)

    def watched() -> None:
        with viztool.monitor(net, optimizer, every=1, quiet=True):
            plain()

    def share(work: Work) -> float:
        if work is plain:
            return 1.0
        alone = cpu_seconds(plain)
        return 1 + (cpu_seconds(watched) / alone - 1) / every

    return Contest(watched, plain, share, "CPU time, from one sampled step and one that is not")


for _every, _mark in ((50, 1.02), (10, 1.08)):

    @row(f"monitor: every={_every}, ResNet-18-like", PLAIN, mark=_mark, pairs=7)
    def resnet(_: ExitStack, every: int = _every) -> Contest:
        return sampled_step(residual, every)

    @row(f"monitor: every={_every}, 50 plain layers", PLAIN, mark=_mark, pairs=7)
    def plain_layers(_: ExitStack, every: int = _every) -> Contest:
        return sampled_step(fifty, every)


@row("monitor: a sampled step, ResNet-18-like", "a plain step", pairs=7)
def one_sample(_: ExitStack) -> Contest:
    return sampled_step(residual, 1)


@row("histograms of all weights, gradients and outputs in one step, ResNet-18-like", "a plain step", pairs=3)
def histograms(_: ExitStack) -> Contest:
    """What wandb.watch(log="all") and TensorBoard's add_histogram compute, without what they write."""
    net, _optimizer, plain = training(residual, 1)

    def work() -> None:
        counts: list[Tensor] = []
        leaves = [module for module in net.modules() if not list(module.children())]
        hooks = [
            leaf.register_forward_hook(lambda _m, _a, out: counts.append(torch.histc(out.detach(), 64)))
            for leaf in leaves
        ]
        plain()
        for hook in hooks:
            hook.remove()
        for parameter in net.parameters():
            counts.append(torch.histc(parameter.detach(), 64))
            if parameter.grad is not None:
                counts.append(torch.histc(parameter.grad, 64))

    return Contest(work, plain)


@row("monitor: peak memory of a sampled step, ResNet-18-like", "a plain step", mark=1.02, pairs=1)
def memory(_: ExitStack) -> Contest:
    net, optimizer, plain = training(residual, 1)

    def watched() -> None:
        with viztool.monitor(net, optimizer, every=1, quiet=True):
            plain()

    return Contest(watched, plain, peak_memory)


@row("monitor: bytes of the log for a layer and sample / 2,000", "", figure="seconds", mark=1, pairs=1)
def log_size(stack: ExitStack) -> Contest:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))

    def size(work: Work) -> float:
        net, optimizer, plain = training(fifty, 3)
        with viztool.monitor(net, optimizer, every=1, log=folder / "run.jsonl", quiet=True) as health:
            plain()
        layers = len(health.run.layers)
        return max(map(len, (folder / "run.jsonl").read_bytes().splitlines())) / layers / 2000

    return Contest(lambda: None, None, size, "kilobytes over the mark of 2 kB, no seconds")


@row("monitor: page of 10,000 samples × 100 layers", "", figure="seconds", mark=10, pairs=1)
def page(stack: ExitStack) -> Contest:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    net, optimizer, plain = training(fifty, 1)
    with viztool.monitor(net, optimizer, every=1, log=folder / "one.jsonl", quiet=True):
        plain()
    line = json.loads((folder / "one.jsonl").read_text())
    with (folder / "run.jsonl").open("w") as file:
        for step in range(10_000):
            file.write(json.dumps({**line, "step": step}) + "\n")
            line = {key: value for key, value in line.items() if key not in ("viztool monitor", "about", "layers")}
    size = (folder / "run.jsonl").stat().st_size

    def work() -> None:
        made = read_log(folder / "run.jsonl").save(folder / "run.html")
        if made.stat().st_size > 10e6:
            raise RuntimeError(f"the page has {made.stat().st_size:,} bytes, more than 10 MB")

    return Contest(work, None, note=f"a log of {size / 1e6:.0f} MB")
