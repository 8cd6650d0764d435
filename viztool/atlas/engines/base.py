"""What computes the ranges: one small interface, ranges in and finished parts out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from viztool.atlas.ranges import Bounds
from viztool.models.model import Model


class Task(Protocol):
    """All that a worker needs, the same for every range of photos: it can be sent to another process."""

    @property
    def model(self) -> Model:
        """The network, which is sent once."""

    @property
    def folder(self) -> Path:
        """Where the parts lie."""

    def part_file(self, bounds: Bounds) -> Path:
        """Where the part of this range lies when it is finished."""

    def work(self, bounds: Bounds) -> None:
        """Compute the part of this range, and write it whole or not at all."""

    def unseen(self, bounds: Bounds) -> str | None:
        """What of this range cannot be reached from this machine, and what to do, in words; None if all can."""


class Engine(Protocol):
    """Writes the part of every range, in any order, and says which is finished."""

    def run(self, task: Task, wanted: Sequence[Bounds]) -> Iterator[Bounds]:
        """Each range as soon as its part is written.

        Raises ViztoolError if one cannot be computed; what is finished stays.
        """
