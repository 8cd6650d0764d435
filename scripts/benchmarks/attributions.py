"""Rows about pixel attributions: beside captum with the batches that suit it best, and beside the forwards alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from copy import deepcopy
from typing import Any

import torch

from benchmarks.contest import Contest, Work, peer, row
from benchmarks.heatmaps import CAPTUM, CLASS, network
from viztool.attribution import attribute

NETWORK = "resnet18"
STEPS, SAMPLES = 50, 200
WINDOW, STRIDE = 32, 16
BATCHES = (4, 8, 16, 32)
"""That captum is tried with; it leaves the choice to its user."""


def ours(method: str, **options: Any) -> Work:
    net, x = network(NETWORK, 1)
    return lambda: attribute(net, x, method, CLASS, **options)


def fastest(work: Callable[[int], Work]) -> tuple[Work, str]:
    """The work with the batch that makes it fastest, and which that is."""
    seconds = {}
    for batch in BATCHES:
        start = time.perf_counter()
        work(batch)()
        seconds[batch] = time.perf_counter() - start
    best = min(BATCHES, key=seconds.__getitem__)
    return work(best), f"captum with batches of {best}"


@row(f"integrated gradients, {NETWORK}, {STEPS} steps", CAPTUM, figure="gain", mark=1, pairs=5)
def integrated_gradients(_: ExitStack) -> Contest:
    library = peer("captum.attr", CAPTUM)
    net, x = network(NETWORK, 1)
    method = library.IntegratedGradients(deepcopy(net))

    def with_batch(batch: int) -> Work:
        return lambda: method.attribute(x, target=CLASS, n_steps=STEPS, internal_batch_size=batch)

    theirs, note = fastest(with_batch)
    return Contest(ours("integrated_gradients", steps=STEPS), theirs, note=note)


@row(f"occlusion, {NETWORK}, {WINDOW} px every {STRIDE}", CAPTUM, figure="gain", mark=1, pairs=3)
def occlusion(_: ExitStack) -> Contest:
    library = peer("captum.attr", CAPTUM)
    net, x = network(NETWORK, 1)
    method = library.Occlusion(deepcopy(net))

    def with_batch(batch: int) -> Work:
        @torch.no_grad()
        def work() -> None:
            method.attribute(
                x, (3, WINDOW, WINDOW), strides=(3, STRIDE, STRIDE), target=CLASS, perturbations_per_eval=batch
            )

        return work

    theirs, note = fastest(with_batch)
    return Contest(ours("occlusion", window=WINDOW, stride=STRIDE), theirs, note=note)


@row(f"RISE, {NETWORK}, {SAMPLES} masks", "its forwards alone", mark=1, pairs=3)
def rise(_: ExitStack) -> Contest:
    net, x = network(NETWORK, 1)
    batch = x.expand(8, -1, -1, -1).contiguous()

    @torch.no_grad()
    def forwards() -> None:
        for _ in range(SAMPLES // len(batch)):
            net(batch)

    return Contest(ours("rise", samples=SAMPLES), forwards, note="captum has no RISE")
