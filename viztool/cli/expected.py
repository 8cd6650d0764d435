"""How long it will take on this machine, said before one waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from viztool.kernels.ascent import Progress

_WORTH_SAYING = 10
"""Seconds; who waits less need not be told."""
_PROBE = 4
"""Steps of an ascent that are timed; the first is left out, in which libraries choose their algorithms."""


def foretell(what: str, seconds: float) -> None:
    """Say on stderr that `what` takes so long, if that is worth saying."""
    if seconds >= _WORTH_SAYING:
        click.echo(f"{what}: about {in_words(seconds)} on this machine", err=True)


def in_words(seconds: float) -> str:
    """Such as "40 s", "3 min" or "1 h 20 min": as exact as an estimate is."""
    if seconds < 90:
        return f"{max(1, round(seconds / 5) * 5 if seconds >= 20 else round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, rest = divmod(round(minutes / 10) * 10, 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"


@dataclass
class Pace:
    """A callback of an ascent: times its first steps, and says how long all will take.

    name: of what is drawn. clock: in seconds.
    """

    name: str
    clock: Callable[[], float] = time.perf_counter
    _began: tuple[int, float] | None = field(default=None, init=False)
    _told: bool = field(default=False, init=False)

    def __call__(self, progress: Progress) -> None:
        now, together = self.clock(), len(progress.indices)
        if self._told:
            return
        if self._began is None:
            self._began = progress.step, now
            return
        first, then = self._began
        timed = progress.step - first
        if timed < _PROBE:
            return
        self._told = True
        # Pictures that are climbed together share each step; those that an earlier run finished are not climbed.
        left = (progress.total - progress.indices.start) / together * progress.steps
        foretell(f"{self.name} ({progress.total} pictures)", (now - then) / timed * left)
