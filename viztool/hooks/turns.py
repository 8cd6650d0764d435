"""Threads that look at one network take turns."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from torch import nn

T = TypeVar("T")


class once(cached_property[T]):  # noqa: N801 - a decorator
    """A property that is computed when it is first asked for, by looking at a network.

    Before Python 3.12 `functools.cached_property` holds a lock that all instances share. A thread that has it would
    wait here for its turn, and the thread whose turn it is would wait for the lock.
    """

    lock: AbstractContextManager[Any]

    def __init__(self, func: Callable[[Any], T]) -> None:
        super().__init__(func)
        self.lock = nullcontext()


@dataclass(frozen=True, eq=False)
class _Turn:
    """What one thread does to some modules (their ids), for a while."""

    modules: frozenset[int]
    thread: int
    alone: bool

    def excludes(self, other: _Turn) -> bool:
        """Whether the two cannot be at the same time."""
        return self.thread != other.thread and (self.alone or other.alone) and self.meets(other)

    def meets(self, other: _Turn) -> bool:
        return not self.modules.isdisjoint(other.modules)


_changed = threading.Condition()
_running: list[_Turn] = []
_waiting: list[_Turn] = []
"""In the order in which they came."""


@contextmanager
def changing(net: nn.Module) -> Iterator[None]:
    """Around what changes the network for a while: its modes, its parameters' flags, its `forward`s.

    No other thread is in a block like this, or in `running`, of a network that shares a layer with this one; who comes
    later waits. A thread may enter again what it is in. What others do with the network without a `capture` cannot be
    told to wait: a training step in another thread is not to be run meanwhile.
    """
    turn = _Turn(frozenset(map(id, net.modules())), threading.get_ident(), alone=True)
    try:
        _begin(turn)
        yield
    finally:
        surely(lambda: _end(turn))


class Running:
    """Forwards of the network in one thread: each runs beside those of others, not while one is `changing` it.

    A network may call itself: `begin` and `end` are then inside one another.
    """

    def __init__(self, net: nn.Module) -> None:
        self._modules = frozenset(map(id, net.modules()))
        self._turn: _Turn | None = None
        self._depth = 0

    def begin(self) -> None:
        """A forward starts."""
        self._depth += 1
        if self._turn is None:
            self._turn = _Turn(self._modules, threading.get_ident(), alone=False)
            _open_here().append(self)
            _begin(self._turn)

    def end(self) -> None:
        """A forward has ended."""
        self._depth -= 1
        if self._depth <= 0:
            self.close()

    def close(self) -> None:
        """All have ended, however."""
        turn, self._turn, self._depth = self._turn, None, 0
        if turn is not None:
            surely(lambda: _end(turn))
        if self in _open_here():
            _open_here().remove(self)


@contextmanager
def ending_forwards() -> Iterator[None]:
    """A block that no forward outlives: one that was left by an exception may not have said that it ended."""
    before = len(_open_here())
    try:
        yield
    finally:
        for forward in _open_here()[before:]:
            forward.close()


@contextmanager
def running(net: nn.Module) -> Iterator[None]:
    """Around what takes the network as it is: no other thread is `changing` it meanwhile."""
    with ending_forwards():
        Running(net).begin()
        yield


_here = threading.local()


def _open_here() -> list[Running]:
    """The forwards that have begun in this thread, in order."""
    if not hasattr(_here, "forwards"):
        _here.forwards = []
    forwards: list[Running] = _here.forwards
    return forwards


def surely(restore: Callable[[], None]) -> None:
    """Run what puts something back, and if Ctrl-C comes in its middle, once more. It may run twice."""
    try:
        restore()
    except BaseException:
        restore()
        raise


def _begin(turn: _Turn) -> None:
    with _changed:
        _waiting.append(turn)
        try:
            _changed.wait_for(lambda: not _must_wait(turn))
            _running.append(turn)
        finally:
            _waiting.remove(turn)
            _changed.notify_all()


def _must_wait(turn: _Turn) -> bool:
    mine = any(turn.thread == other.thread and turn.meets(other) for other in _running)
    # Who is in already does not queue: those in the queue wait for it.
    before = [] if mine else _waiting[: _waiting.index(turn)]
    return any(turn.excludes(other) for other in (*_running, *before))


def _end(turn: _Turn) -> None:
    with _changed:
        if turn in _running:
            _running.remove(turn)
        _changed.notify_all()
