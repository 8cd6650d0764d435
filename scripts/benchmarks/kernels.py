"""Rows about gradient ascent: beside the least that it can cost, and beside torch-lucent.

torch-lucent asks for packages of its own time. It runs in an environment of its own, made so:

    pip install . future decorator ipython && pip install --no-deps torch-lucent==0.1.8 kornia==0.4.1
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module

import torch

import viztool
from benchmarks.contest import Contest, NotHereError, Work, cpu_seconds, row
from benchmarks.memory import peak_memory
from viztool.kernels.loop import maximize
from viztool.kernels.objectives import channel
from viztool.models.model import Model

LAYER, SIDE, BATCH, STEPS = "blocks.4", 128, 8, 16
STEP = "gradient ascent, a channel's step in a middle block, 128 px; CPU time"


@cache
def model() -> Model:
    """The embedded network."""
    return viztool.load_model()


@dataclass(frozen=True)
class Steps:
    """Work that may be done for any number of steps, of so many channels together."""

    run: Callable[[int], None]
    channels: int

    def __call__(self) -> None:
        self.run(STEPS)


def cpu_of_a_step(work: Work) -> float:
    """CPU seconds of one step of one channel, without what is done once."""
    assert isinstance(work, Steps)
    once, whole = (cpu_seconds(partial(work.run, steps)) for steps in (1, 1 + STEPS))
    return (whole - once) / STEPS / work.channels


def ascent(steps: int) -> None:
    """Eight channels, with all that makes a picture."""
    maximize(model(), [channel(LAYER, index) for index in range(BATCH)], steps=steps, size=SIDE, early_stop=False)


def bare(steps: int) -> None:
    """The least that an ascent can do: forward to the layer, backward, Adam on pixels; frozen, channels last."""
    net = deepcopy(model().net).eval().requires_grad_(False)
    pixels = torch.randn(BATCH, 3, SIDE, SIDE).mul(0.1).contiguous(memory_format=torch.channels_last).requires_grad_()
    optimizer = torch.optim.Adam([pixels], lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        with viztool.capture(net, LAYER, stop=True) as acts:
            net(pixels)
        (-acts[LAYER].mean((2, 3)).diagonal().sum()).backward()
        optimizer.step()


@row(STEP, "a bare loop", mark=1.1, pairs=7)
def beside_a_bare_loop(_: ExitStack) -> Contest:
    return Contest(Steps(ascent, BATCH), Steps(bare, BATCH), cpu_of_a_step)


@row(STEP, "torch-lucent", figure="gain", mark=8, pairs=5)
def beside_lucent(_: ExitStack) -> Contest:
    return Contest(Steps(ascent, BATCH), Steps(by_lucent(), 1), cpu_of_a_step, "lucent draws one channel at a time")


def by_lucent() -> Callable[[int], None]:
    """One channel, all its options as they come but for the normalisation, which is the network's own."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            param, render, transform = (
                import_module(f"lucent.optvis.{name}") for name in ("param", "render", "transform")
            )
    except ImportError:
        raise NotHereError("torch-lucent is not installed; scripts/benchmarks/kernels.py says how") from None

    def run(steps: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            render.render_vis(
                deepcopy(model().net).eval(),  # it leaves its hooks there
                f"{LAYER.replace('.', '_')}:0",
                param_f=lambda: param.image(SIDE),
                transforms=[*transform.standard_transforms, lambda x: (x - 0.5) / 0.5],
                preprocess=False,
                thresholds=(steps,),
                progress=False,
                show_image=False,
            )

    return run


def command(channels: int, steps: int) -> Work:
    """What `viztool kernels` does for so many channels."""
    return lambda: viztool.visualize_kernels(model(), LAYER, range(channels), steps, SIDE, negative=False)


@row("gradient ascent, 64 channels, 256 steps", "", figure="seconds", pairs=1)
def many(_: ExitStack) -> Contest:
    return Contest(command(64, 256), None)


@row("gradient ascent, CPU time of a channel: 64 together", "8 together", mark=1.0, pairs=3)
def many_beside_few(_: ExitStack) -> Contest:
    ours, theirs = command(64, 32), command(8, 32)
    return Contest(ours, theirs, lambda work: cpu_seconds(work) / (64 if work is ours else 8))


@row("gradient ascent, peak memory: 64 channels", "8 channels", mark=1.05, pairs=1)
def memory(_: ExitStack) -> Contest:
    return Contest(command(64, 2), command(8, 2), peak_memory)
