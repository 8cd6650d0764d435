"""What there is of a kind, by name: methods, demos."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Generic, TypeVar

from viztool.errors import ViztoolError

T = TypeVar("T")


class Registry(Generic[T]):
    """Entries by name, in the order in which they were added.

    what: one of them, in an error: "method". error: what is raised where a name is unknown.
    """

    def __init__(self, what: str, error: type[ViztoolError] = ViztoolError) -> None:
        self._what, self._error = what, error
        self._entries: dict[str, T] = {}

    def add(self, name: str, entry: T) -> None:
        """Raises ValueError for a name that is taken: it would hide the other."""
        if name in self._entries:
            raise ValueError(f"there is a {self._what} {name!r} already")
        self._entries[name] = entry

    def names(self) -> tuple[str, ...]:
        return tuple(self._entries)

    def find(self, name: str) -> T:
        """The entry of this name, however it is spelled: Grad-CAM, gradcam.

        Raises the registry's error, with the nearest names, if there is none.
        """
        known = {_plain(other): other for other in self._entries}
        if _plain(name) in known:
            return self._entries[known[_plain(name)]]
        close = get_close_matches(_plain(name), known, n=3, cutoff=0.5)
        near = (
            f"nearest: {', '.join(known[other] for other in close)}"
            if close
            else f"there are {', '.join(self._entries)}"
        )
        raise self._error(f"no {self._what} is called {name!r}; {near}")


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "").replace(" ", "")
