"""From a range of photos to a part: one forward a photo for all layers, on one thread, in batches that stay the same.

Kernels round differently with another batch size or number of threads. Both are fixed, so that a range gives the same
bytes wherever it is computed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from viztool.atlas.part import Part, Seen, write_part
from viztool.atlas.ranges import BATCH, Bounds, part_file
from viztool.atlas.sources import MISSING, Entry, Source
from viztool.atlas.tables import MANIFEST
from viztool.atlas.tally import Look, Tally, look
from viztool.attribution.arriving import arriving
from viztool.errors import ImageError, ModelError, ViztoolError
from viztool.hooks.capture import capture
from viztool.hooks.evaluating import evaluating
from viztool.hooks.layout_memory import following
from viztool.hooks.naming import named_layers, unwrap
from viztool.hooks.watch import watch
from viztool.images.bytes import decode
from viztool.models.model import Model

_AHEAD = 2
"""Batches that are read while the network runs."""


@dataclass(frozen=True)
class Job:
    """All that a worker needs: the same for every range. layers: by name, with their channels, as they run.

    batch: photos in one forward.
    """

    model: Model
    source: Source
    entries: Sequence[Entry]
    layers: Mapping[str, int]
    keep: int
    folder: Path
    fingerprint: str
    half: bool = False
    relevance: bool = False
    batch: int = BATCH

    def part_file(self, bounds: Bounds) -> Path:
        """Where the part of the photos from bounds[0] up to bounds[1] lies."""
        return part_file(self.folder, bounds)

    def work(self, bounds: Bounds) -> None:
        """Look at the photos from bounds[0] up to bounds[1], and write the part. The network is left as it was."""
        write_part(self.part_file(bounds), compute(self, bounds), self.fingerprint)

    def unseen(self, bounds: Bounds) -> str | None:
        """The folder, or the first of the photos, where this machine does not see it, and what to do; else None."""
        if not (self.folder / MANIFEST).exists():
            return f"{self.folder}: put the atlas where all nodes do"
        first = self.entries[bounds[0]]
        gone = self.source.stamp(first) is None and first.stamp != MISSING
        return f"{first.id} of {self.source.name}: put the photos where all nodes do" if gone else None


@dataclass
class _Read:
    """A photo that was read: what is told of it, and what the network gets."""

    seen: Seen
    x: Tensor | None = None


@dataclass
class _Batch:
    """Photos of one shape that stand side by side, so many at most."""

    most: int
    read: list[_Read] = field(default_factory=list)

    @property
    def inputs(self) -> Tensor:
        """(most, C, ..., h, w): a batch that is not full is filled up, as kernels round by the size of it."""
        given = [one.x for one in self.read if one.x is not None]
        return torch.cat([*given, *given[-1:] * (self.most - len(given))])

    def takes(self, x: Tensor) -> bool:
        return not self.read or (
            len(self.read) < self.most and self.read[0].x is not None and x.shape == self.read[0].x.shape
        )


def compute(job: Job, bounds: Bounds) -> Part:
    """The part of this range. Raises ModelError if the network cannot run on the photos, whatever they show."""
    seen: list[Seen] = []
    tallies = {name: Tally(channels, job.keep) for name, channels in job.layers.items()}
    with one_thread(), evaluating(unwrap(job.model.net)), torch.inference_mode(False), torch.no_grad():
        for batch in _batches(job, bounds, seen):
            looks = _run(job, batch.inputs, len(batch.read))
            finite = np.logical_and.reduce([each.finite for each in looks.values()])
            photos = np.array([one.seen.photo for one in batch.read], np.int32)
            for name, each in looks.items():
                tallies[name].add(each, photos, finite)
            for name, maps in _relevances(job, batch).items():
                known = finite & np.isfinite(maps).all((1, 2, 3))
                tallies[name].add_relevance(maps, photos, known)
            for one, good in zip(batch.read, finite, strict=True):
                seen.append(one.seen if good else _failed(one.seen, "the network's activations are not finite on it"))
    seen.sort(key=lambda one: one.photo)
    return Part(*bounds, tuple(seen), {name: tally.part(job.relevance) for name, tally in tallies.items()})


def _batches(job: Job, bounds: Bounds, failed: list[Seen]) -> Iterator[_Batch]:
    """What can be read, in order; what cannot is added to `failed`. The next photos are read while the network runs."""
    batch = _Batch(job.batch)
    with ThreadPoolExecutor(1) as pool:
        numbers = range(*bounds)
        waiting = [pool.submit(_read, job, number) for number in numbers[: _AHEAD * BATCH]]
        for number in numbers:
            one = waiting.pop(0).result()
            if number + _AHEAD * BATCH < bounds[1]:
                waiting.append(pool.submit(_read, job, number + _AHEAD * BATCH))
            if one.x is None:
                failed.append(one.seen)
                continue
            if not batch.takes(one.x):
                yield batch
                batch = _Batch(job.batch)
            batch.read.append(one)
    if batch.read:
        yield batch


def _read(job: Job, number: int) -> _Read:
    entry = job.entries[number]
    stamp = None if entry.stamp == MISSING else job.source.stamp(entry)
    missing = Seen(number, "", stamp or MISSING)
    if stamp is None:
        return _Read(_failed(missing, f"{entry.id} is not there"))
    try:
        content = job.source.read(entry)
    except FileNotFoundError:
        return _Read(_failed(missing, f"{entry.id} is not there"))
    except (OSError, ValueError) as error:
        return _Read(_failed(missing, f"{entry.id} cannot be read: {error}"))
    digest = hashlib.sha256(
        content if isinstance(content, bytes) else np.ascontiguousarray(content).tobytes()
    ).hexdigest()
    seen = Seen(number, digest, stamp)
    try:
        photo = decode(content, entry.id)
        x = job.model.preprocess(photo).to(job.model.dtype)
    except (ImageError, ModelError) as error:
        return _Read(_failed(seen, str(error)))
    box = job.model.crop_box(photo.shape)
    size = (int(x.shape[-2]), int(x.shape[-1]))
    return _Read(Seen(number, digest, seen.stamp, (photo.shape[0], photo.shape[1]), box, size), x)


def _run(job: Job, x: Tensor, count: int) -> dict[str, Look]:
    """What is needed of each layer's maps of the first `count` photos."""
    half = torch.autocast(x.device.type, torch.bfloat16) if job.half else nullcontext()
    net = unwrap(job.model.net)
    named = named_layers(net)
    looks: dict[int, Look] = {}
    with running(job.model.name, x), half, following(net, x, until=job.layers) as layouts:

        def note(name: str, layer: nn.Module, output: Tensor) -> None:
            looks[id(layer)] = _looked(layouts.maps(name, output))

        # In this order a layer's layout is found first, then its maps are looked at, then the forward may end.
        with (
            watch({name: named[name] for name in job.layers}, exit=note),
            capture(net, list(job.layers), stop=True, reduce=lambda _: None),
        ):
            net(x)
    return {name: looks[id(named[name])].first(count) for name in job.layers}


def _relevances(job: Job, batch: _Batch) -> dict[str, npt.NDArray[np.float32]]:
    """By layer, (n, C, h, w): of each unit, for the class that the network says; nothing if that is not asked for."""
    if not job.relevance:
        return {}
    found = arriving(job.model, batch.inputs, list(job.layers))
    return {name: maps[: len(batch.read)].detach().cpu().numpy() for name, maps in found.items()}


@contextmanager
def running(name: str, x: Tensor) -> Iterator[None]:
    """Around a forward: what goes wrong in the network itself is a ModelError that says on what."""
    try:
        yield
    except (ViztoolError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ModelError(f"{name} cannot run on an input of {tuple(x.shape)}: {reason}") from error


def _looked(maps: Tensor) -> Look:
    return look(maps.detach().float().cpu().numpy())


def _failed(seen: Seen, why: str) -> Seen:
    return Seen(seen.photo, seen.digest, seen.stamp, error=why)


@contextmanager
def one_thread() -> Iterator[None]:
    """Numbers round by how many threads there are: with one they are the same wherever they are computed."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        yield
    finally:
        torch.set_num_threads(before)
