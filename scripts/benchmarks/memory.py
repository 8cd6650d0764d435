"""Memory in measurements: whether it is new, and how much of it there was."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from torch.profiler import ProfilerActivity, profile

Work = Callable[[], Any]

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # malloc.h of glibc


def _glibc() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL("libc.so.6")
    except OSError:
        return None
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None


def keep_freed_memory() -> bool:
    """From now on, memory that is freed stays with the process. False where this cannot be asked for.

    Left alone, glibc gives it back or not by how the heap happens to lie, and the next run pays for new
    pages or not: on a virtual machine that may be half of a forward, and falls on one side by chance.
    """
    glibc = _glibc()
    return glibc is not None and bool(glibc.mallopt(_TRIM_THRESHOLD, -1)) and bool(glibc.mallopt(_MMAP_MAX, 0))


MEMORY_IS_KEPT = keep_freed_memory()


def seconds_in_new_memory(work: Work) -> float:
    """Of the work, when all that was freed before has gone back to the system. Needs glibc."""
    glibc = _glibc()
    assert glibc is not None
    glibc.malloc_trim(0)
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def peak_memory(work: Work) -> float:
    """The most bytes that torch holds on the CPU during the work, over what it held before: counted, not sampled."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        work()
    results = record.profiler and record.profiler.kineto_results
    assert results is not None
    changes = sorted((event.start_ns(), event.nbytes()) for event in results.events() if event.name() == "[memory]")
    return float(np.cumsum([size for _, size in changes]).max())
