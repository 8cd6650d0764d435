"""Time gradient ascent beside the least it can cost, on the default network.

- a step of eight channels of a middle block at 128 pixels, beside a bare loop of the same batch: forward to the layer,
  backward, Adam on pixels, nothing else;
- a whole command of 8 and of 64 channels: CPU time of a channel, and the most memory it took, each in a process of
  its own.

    OMP_WAIT_POLICY=PASSIVE python scripts/benchmark_kernels.py
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch

import viztool
from viztool.kernels.loop import maximize
from viztool.kernels.objectives import channel
from viztool.models.model import Model

LAYER, SIDE, BATCH = "blocks.4", 128, 8


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--steps", type=int, default=16, help="of each timing")
    parser.add_argument("--rounds", type=int, default=5, help="the two loops take turns")
    parser.add_argument("--command-steps", type=int, default=64, help="of the whole commands")
    parser.add_argument("--channels", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    model = viztool.load_model()
    if options.channels is not None:
        whole(model, options.channels, options.command_steps)
        return
    ratios = []
    for _ in range(options.rounds):
        least = per_step(lambda steps: bare(model, steps), options.steps)
        ours = per_step(lambda steps: ascent(model, steps), options.steps)
        ratios.append(ours / least)
        print(
            f"a channel and step: bare loop {1e3 * least:.1f} ms of CPU time, ours {1e3 * ours:.1f}, {ratios[-1]:.2f} ×"
        )
    print(f"median {statistics.median(ratios):.2f} × the bare loop")
    for channels in (8, 64):
        command = [sys.executable, __file__, "--channels", str(channels), "--command-steps", str(options.command_steps)]
        subprocess.run(command, check=True)


def per_step(run: Callable[[int], None], steps: int) -> float:
    """CPU seconds of one step of one channel, without what is done once."""
    run(1)
    times = []
    for count in (1, steps + 1):
        started = time.process_time()
        run(count)
        times.append(time.process_time() - started)
    return (times[1] - times[0]) / steps / BATCH


def bare(model: Model, steps: int) -> None:
    """The least that an ascent can do, with the network frozen and channels last."""
    net = model.net.eval().requires_grad_(False)
    pixels = torch.randn(BATCH, 3, SIDE, SIDE).mul(0.1).contiguous(memory_format=torch.channels_last).requires_grad_()
    optimizer = torch.optim.Adam([pixels], lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        with viztool.capture(net, LAYER, stop=True) as acts:
            net(pixels)
        (-acts[LAYER].mean((2, 3)).diagonal().sum()).backward()
        optimizer.step()


def ascent(model: Model, steps: int) -> None:
    """The same with all that makes a picture."""
    maximize(model, [channel(LAYER, index) for index in range(BATCH)], steps=steps, size=SIDE, early_stop=False)


def whole(model: Model, channels: int, steps: int) -> None:
    """The command without its photos, and its memory."""
    started = time.process_time()
    viztool.visualize_kernels(model, LAYER, range(channels), steps, SIDE, negative=False)
    spent = (time.process_time() - started) / channels
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{channels} channels, {steps} steps: {spent:.2f} s of CPU time a channel, {peak:.0f} MiB at most")


if __name__ == "__main__":
    main()
