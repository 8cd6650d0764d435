"""Who computes: this process, several, or a Ray cluster."""

from __future__ import annotations

from viztool.atlas.engines.base import Engine
from viztool.atlas.engines.here import Here
from viztool.atlas.engines.processes import Processes
from viztool.atlas.engines.ray import Ray
from viztool.errors import SettingError

__all__ = ["Engine", "find_engine"]


def find_engine(workers: int | str | None) -> Engine:
    """None is this process; a number, so many; "ray" or "ray://HOST:PORT", a cluster. Raises SettingError for else."""
    if workers is None:
        return Here()
    if isinstance(workers, str) and workers.isdigit():
        workers = int(workers)
    if isinstance(workers, int) and not isinstance(workers, bool) and workers >= 1:
        return Processes(workers)
    if workers == "ray":
        return Ray()
    if isinstance(workers, str) and workers.startswith("ray://"):
        return Ray(workers)
    raise SettingError(f"workers is {workers!r}; give a number of processes, ray, or ray://HOST:PORT")
