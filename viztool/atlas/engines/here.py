"""One range after another in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from viztool.atlas.engines.base import Task
from viztool.atlas.ranges import Bounds


class Here:
    """The process that asks. The next photos are read while the network runs."""

    def run(self, task: Task, wanted: Sequence[Bounds]) -> Iterator[Bounds]:
        for bounds in wanted:
            task.work(bounds)
            yield bounds
