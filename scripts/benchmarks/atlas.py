"""Rows about `viztool.build_atlas`, beside a bare loop over the same photos."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from unittest import mock

import numpy as np
import torch

import viztool
from benchmarks.contest import Contest, Work, peer, row
from viztool.atlas import worker
from viztool.atlas.crops import Album
from viztool.atlas.layers import looked_at
from viztool.atlas.merge import total
from viztool.atlas.part import LayerPart, Part
from viztool.atlas.ranges import BATCH
from viztool.atlas.sheet import AtlasSheet
from viztool.atlas.tally import Tally, look
from viztool.hooks.capture import capture
from viztool.hooks.evaluating import evaluating

INPUTS = Path(__file__).parents[2] / "gallery" / "inputs"
COUNT = 64


def photos(stack: ExitStack, count: int) -> Path:
    """A folder with so many JPEG files: the photos of the gallery, over and over under other names."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    own = sorted(INPUTS.glob("*.jpg"))
    for number in range(count):
        (folder / f"{number:05d}.jpg").symlink_to(own[number % len(own)])
    return folder


@cache
def model() -> viztool.Model:
    return viztool.load_model()


def bare_loop(folder: Path) -> None:
    """Decode, preprocess, run the same batches up to the last stage, keep nothing."""
    known = model()
    last = looked_at(known, "stages")[-1].name
    paths = sorted(folder.iterdir())
    with torch.no_grad(), evaluating(known.net):
        for start in range(0, len(paths), BATCH):
            x = torch.cat([known.preprocess(viztool.read_image(path)) for path in paths[start : start + BATCH]])
            with capture(known.net, last, stop=True, reduce=lambda _: None):
                known.net(x)


def threads(count: int, work: Work) -> Work:
    """The work with so many threads of torch."""

    def limited() -> None:
        before = torch.get_num_threads()
        torch.set_num_threads(count)
        try:
            work()
        finally:
            torch.set_num_threads(before)

    return limited


def build(folder: Path, workers: int | str | None = None) -> Work:
    """A whole build into a new folder."""

    def work() -> None:
        with tempfile.TemporaryDirectory() as place:
            viztool.build_atlas(model(), folder, Path(place, "atlas"), workers=workers)

    return work


@contextmanager
def _as_many_threads_as_there_are() -> Iterator[None]:
    yield


@row("atlas: one process", "bare loop, one thread", mark=1.11, pairs=3)
def one_process(stack: ExitStack) -> Contest:
    folder = photos(stack, 8 * COUNT)  # so many that finding the layers and writing the tables hardly count
    return Contest(build(folder), threads(1, lambda: bare_loop(folder)))


@row("atlas: two workers", "one process with two threads", figure="gain", mark=1.1, pairs=5)
def two_workers(stack: ExitStack) -> Contest:
    folder = photos(stack, COUNT)

    def with_two_threads() -> None:
        with mock.patch.object(worker, "one_thread", _as_many_threads_as_there_are):
            build(folder)()

    return Contest(build(folder, 2), threads(2, with_two_threads))


@row("atlas: Ray, its start left out", "two workers", figure="gain", mark=0.9, pairs=3)
def through_ray(stack: ExitStack) -> Contest:
    ray = peer("ray", "ray")
    folder = photos(stack, 4 * COUNT)
    begun = time.perf_counter()
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    stack.callback(ray.shutdown)
    note = f"the cluster's start took {time.perf_counter() - begun:.1f} s"
    build(photos(stack, 2 * BATCH), "ray")()  # its workers import torch once
    return Contest(build(folder, "ray"), build(folder, 2), note=note)


_GROWTH = """
import resource, sys, viztool
viztool.build_atlas(viztool.load_model(), sys.argv[1], sys.argv[2], layers=["blocks.0", "blocks.1", "blocks.4"])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@row("atlas: peak memory at 1,000 photos", "at 200 photos", mark=1.05, pairs=1)
def memory(stack: ExitStack) -> Contest:
    def peak(work: Work) -> float:
        return float(work())

    def at(count: int) -> Work:
        folder = photos(stack, count)

        def work() -> int:
            with tempfile.TemporaryDirectory() as place:
                command = [sys.executable, "-c", _GROWTH, str(folder), str(Path(place, "atlas"))]
                return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

        return work

    return Contest(at(1000), at(200), peak)


def synthetic(channels: int, seed: int) -> LayerPart:
    """The part of 16 photos at a last stage of 7 × 7."""
    rng = np.random.default_rng(seed)
    tally = Tally(channels, 16)
    for start in range(0, 16, BATCH):
        maps = np.maximum(rng.standard_normal((BATCH, channels, 7, 7), dtype=np.float32), 0)
        tally.add(look(maps), np.arange(start, start + BATCH, dtype=np.int32), np.ones(BATCH, bool))
    return tally.part()


@row("atlas: merge of 1,000 parts of 5 × 2,048 channels", "", figure="seconds", mark=10, pairs=1)
def merging(_: ExitStack) -> Contest:
    layers = [synthetic(2048, seed) for seed in range(8)]

    def parts() -> Iterator[Part]:
        for number in range(1000):
            yield Part(number, number + 1, (), {str(at): layers[(number + at) % len(layers)] for at in range(5)})

    def work() -> None:
        for layer in total(parts(), {str(at): 2048 for at in range(5)}, 16).values():
            _ = layer.products, layer.positions, layer.highest

    return Contest(work, None, note="of 16 photos each, in memory, not read")


@row("atlas: a finished build of 2,000 photos, again", "", figure="seconds", mark=1, pairs=5)
def again(stack: ExitStack) -> Contest:
    folder = photos(stack, 2000)
    place = Path(stack.enter_context(tempfile.TemporaryDirectory()), "atlas")
    torch.manual_seed(0)
    small = viztool.wrap_model(torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, stride=4), torch.nn.ReLU()).eval(), size=32)

    def work() -> None:
        viztool.build_atlas(small, folder, place, layers=["1"])

    work()
    return Contest(work, None)


@row("atlas: a sheet of 64 units", "", figure="seconds", mark=3, pairs=5)
def sheet(stack: ExitStack) -> Contest:
    folder = photos(stack, COUNT)
    place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    viztool.build_atlas(model(), folder, place / "atlas", layers=["blocks.4"])

    def work() -> None:
        atlas = viztool.open_atlas(place / "atlas")
        AtlasSheet(atlas, "blocks.4", list(range(64)), Album(atlas)).save(place / "sheet.png")

    return Contest(work, None)
