"""A Ray cluster: one task a range, as many at once as it has processors."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from viztool.atlas.engines.base import Task
from viztool.atlas.ranges import Bounds
from viztool.errors import ViztoolError

_RETRIES = 10
"""How often a task is begun again after its node was lost."""


@dataclass(frozen=True)
class Ray:
    """The cluster at `address`; without one, that of RAY_ADDRESS, or one that is started on this machine.

    Tasks, not Ray Data: their splits and checkpoints are Ray's own, and ours are what the tables promise. The network
    and the list of photos go into the object store once; a worker that has them keeps them.
    """

    address: str | None = None

    def run(self, task: Task, wanted: Sequence[Bounds]) -> Iterator[Bounds]:
        ray = _ray()
        started = not ray.is_initialized()
        if started:
            try:
                ray.init(address=self.address, include_dashboard=False, log_to_driver=False, configure_logging=False)
            except (ConnectionError, OSError, ValueError, RuntimeError) as error:
                raise ViztoolError(f"no Ray cluster answers at {self.address or 'RAY_ADDRESS'}: {error}") from error
        try:
            yield from _run(ray, task, wanted)
        finally:
            if started:
                ray.shutdown()


def _run(ray: Any, task: Task, wanted: Sequence[Bounds]) -> Iterator[Bounds]:
    begin = ray.remote(_work).options(num_cpus=1, max_retries=_RETRIES, scheduling_strategy="SPREAD")
    shared = ray.put(task)
    waiting = list(wanted)
    running: dict[Any, Bounds] = {}
    while waiting or running:
        # No more than a few each processor: what waits in the cluster would only hold memory there.
        room = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
        while waiting and len(running) < room:
            bounds = waiting.pop(0)
            running[begin.remote(shared, bounds)] = bounds
        done, _ = ray.wait(list(running), num_returns=1, timeout=1.0)
        for reference in done:
            bounds = running.pop(reference)
            try:
                ray.get(reference)
            except ray.exceptions.RayTaskError as error:
                raise _told(error) from error
            except ray.exceptions.RayError as error:
                raise ViztoolError(
                    f"the cluster lost the work on photos {bounds[0]} to {bounds[1] - 1} {_RETRIES + 1} times "
                    f"({type(error).__name__}); what is finished stays: run the same again"
                ) from error
            if not task.part_file(bounds).exists():
                raise ViztoolError(f"a node wrote into a {task.folder} of its own: put it where all nodes see it")
            yield bounds


def _work(task: Task, bounds: Bounds) -> None:
    """Runs on a node."""
    lacking = task.unseen(bounds)
    if lacking is not None:
        raise ViztoolError(f"the node {socket.gethostname()} does not see {lacking}")
    task.work(bounds)


def _told(error: Any) -> ViztoolError:
    cause = getattr(error, "cause", None)
    if isinstance(cause, ViztoolError):
        return cause
    return ViztoolError(f"a task failed on the cluster: {cause or error}")


def _ray() -> Any:
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise ViztoolError("Ray is not installed: pip install 'viztool[ray]'") from error
    return ray
