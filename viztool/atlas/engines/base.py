"""What computes the ranges: one small interface, ranges in and finished parts out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from viztool.atlas.ranges import Bounds
from viztool.atlas.worker import Job


class Engine(Protocol):
    """Writes the part of every range, in any order, and says which is finished."""

    def run(self, job: Job, wanted: Sequence[Bounds]) -> Iterator[Bounds]:
        """Each range as soon as its part is written.

        Raises ViztoolError if one cannot be computed; what is finished stays.
        """
