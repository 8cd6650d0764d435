"""One build at a time in a folder."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from viztool.errors import ViztoolError


@contextmanager
def only_build(folder: Path) -> Iterator[None]:
    """Hold the folder inside the block. The system lets go of it when the process ends, however that happens.

    Raises ViztoolError, which names the process, if another one holds it, and if the file system cannot lock.
    """
    holder = folder / "building.json"
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ViztoolError(f"{folder} is being built by {_named(holder)}; wait for it, or build elsewhere") from None
    except (OSError, NotImplementedError) as error:
        raise ViztoolError(f"{folder} is on a file system that cannot lock ({error}); build on another") from error
    try:
        holder.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        yield
    finally:
        with suppress(OSError):
            holder.unlink()
        lock.release()


def _named(holder: Path) -> str:
    try:
        told = json.loads(holder.read_text())
        return f"process {told['pid']} on {told['host']}"
    except (OSError, ValueError, KeyError):
        return "another process"
