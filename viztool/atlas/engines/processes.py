"""Several processes on this machine, each with one thread for the network."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from viztool.atlas.engines.base import Task
from viztool.atlas.ranges import Bounds
from viztool.errors import ViztoolError

_PR_SET_PDEATHSIG = 1  # prctl(2)

_task: Task | None = None
"""Of this process and the ones forked from it: a network need not be one that can be pickled."""


@dataclass(frozen=True)
class Processes:
    """`count` worker processes. Where the system can fork they share the network's memory, as torch's loaders do."""

    count: int

    def run(self, task: Task, wanted: Sequence[Bounds]) -> Iterator[Bounds]:
        global _task
        forked = "fork" in multiprocessing.get_all_start_methods() and task.model.device.type == "cpu"
        context = multiprocessing.get_context("fork" if forked else "spawn")
        _task = task
        pool = ProcessPoolExecutor(
            min(self.count, len(wanted)) or 1,
            mp_context=context,
            initializer=_begin,
            initargs=(os.getpid(), None if forked else task),
        )
        try:
            with warnings.catch_warnings():
                # Python says that a thread might hold a lock that the child then never gets. The child runs only what
                # torch's data loaders run in theirs, which fork in the same way.
                warnings.filterwarnings("ignore", message=".*multi-threaded.*fork", category=DeprecationWarning)
                futures = [pool.submit(_work, bounds) for bounds in wanted]
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool:
            raise ViztoolError(
                "a worker process was killed, perhaps for want of memory; what is finished stays: "
                "run the same again, with fewer workers"
            ) from None
        finally:
            _task = None
            pool.shutdown(wait=True, cancel_futures=True)


def _begin(parent: int, task: Task | None) -> None:
    global _task
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the parent, which ends the pool
    if task is not None:
        _task = task
    if sys.platform == "linux":
        # Whoever kills the parent outright means this process, too.
        with suppress(OSError, AttributeError):
            libc: Any = ctypes.CDLL(None)
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def _work(bounds: Bounds) -> Bounds:
    if _task is None:
        raise ViztoolError("a worker process was started without its work; start again")
    _task.work(bounds)
    return bounds
