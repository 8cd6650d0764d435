"""Rows about `viztool.capture`, beside a plain forward."""

from __future__ import annotations

from contextlib import ExitStack
from functools import cache
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from benchmarks.contest import Contest, NotHereError, Work, peer, row
from benchmarks.memory import MEMORY_IS_KEPT, peak_memory, seconds_in_new_memory
from viztool import capture

FORWARD = "plain forward"


@cache
def resnet50() -> tuple[nn.Module, Tensor]:
    """A network with random weights and four pictures of noise: speed depends on neither."""
    torch.manual_seed(0)
    return torchvision.models.resnet50().eval(), torch.rand(4, 3, 224, 224)


@torch.no_grad()
def forward() -> None:
    net, x = resnet50()
    net(x)


def captured(layers: str | None, **options: Any) -> Work:
    """The same forward, with these layers captured."""

    @torch.no_grad()
    def work() -> None:
        net, x = resnet50()
        with capture(net, layers, **options):
            net(x)

    return work


@row("capture: one layer", FORWARD, mark=1.03, pairs=30)
def one_layer(_: ExitStack) -> Contest:
    return Contest(captured("layer3.0.conv2"), forward)


@row("capture: stop at layer2", FORWARD, mark=0.56)
def early_stop(_: ExitStack) -> Contest:
    return Contest(captured("layer2", stop=True), forward)


@row("capture: all leaves, copied", FORWARD, mark=1.15)
def all_leaves(_: ExitStack) -> Contest:
    return Contest(captured(None), forward)


@row("capture: all leaves, the hooks alone", "own hooks that clone", pairs=10)
def all_leaves_beside_clones(_: ExitStack) -> Contest:
    return Contest(captured(None), forward_with_clones)


@torch.no_grad()
def forward_with_clones() -> None:
    """The least that a copy of every leaf costs."""
    net, x = resnet50()
    kept: list[Tensor] = []
    leaves = [module for module in net.modules() if not list(module.children())]
    hooks = [leaf.register_forward_hook(lambda _module, _args, output: kept.append(output.clone())) for leaf in leaves]
    net(x)
    for hook in hooks:
        hook.remove()


@row("capture: all leaves, copied to new memory", "plain forward in new memory", pairs=8)
def all_leaves_in_new_memory(_: ExitStack) -> Contest:
    if not MEMORY_IS_KEPT:
        raise NotHereError("only glibc can be told to give memory back")
    return Contest(captured(None), forward, seconds_in_new_memory, "as on the first photo")


@row("torchlens: log of the forward", FORWARD, pairs=5)
def torchlens_log(_: ExitStack) -> Contest:
    torchlens = peer("torchlens", "torchlens")

    @torch.no_grad()
    def work() -> None:
        torchlens.trace(*resnet50())

    return Contest(work, forward)


@row("capture: all leaves, reduced; peak memory", FORWARD, pairs=1)
def reduced(_: ExitStack) -> Contest:
    means = captured(None, reduce=lambda maps: maps.flatten(2).mean(2) if maps.ndim == 4 else maps)
    copied = peak_memory(captured(None)) / peak_memory(forward)
    return Contest(means, forward, peak_memory, f"not reduced, {copied:.1f} ×")
