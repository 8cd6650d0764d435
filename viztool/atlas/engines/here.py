"""One range after another in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from viztool.atlas.ranges import Bounds
from viztool.atlas.worker import Job, work


class Here:
    """The process that asks. The next photos are read while the network runs."""

    def run(self, job: Job, wanted: Sequence[Bounds]) -> Iterator[Bounds]:
        for bounds in wanted:
            work(job, bounds)
            yield bounds
