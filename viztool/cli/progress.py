"""A progress bar on stderr, where somebody is looking."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def progress(items: Iterable[T], *, quiet: bool, what: str = "photos", total: int | None = None) -> Iterable[T]:
    """The items, with a bar on stderr if that is a terminal and there is more than one.

    total: how many there are, of items that have no length.
    """
    if total is None and isinstance(items, Collection):
        total = len(items)
    if quiet or (total is not None and total < 2) or not sys.stderr.isatty():
        return items
    return _with_bar(items, what, total)


def _with_bar(items: Iterable[T], what: str, total: int | None) -> Iterator[T]:
    from rich.console import Console
    from rich.progress import track

    yield from track(items, description=what, total=total, console=Console(stderr=True), transient=True)
