"""The demos there are, and how one is added."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeAlias

from viztool.demos.errors import DemoError
from viztool.demos.story import Story

Tell: TypeAlias = Callable[..., Story]
"""From a `Photo` and a seed, and options by keyword, to a story; on a network from a `Model`, photos and a seed."""


@dataclass(frozen=True)
class Demo:
    """claims: their numbers in CLAIMS. tell: draws it, and raises WrongNumberError if a number is not as it should be.

    trains: whether it trains networks, and so takes tens of seconds. moves: whether it is a moving picture.
    """

    name: str
    title: str
    claims: tuple[int, ...]
    tell: Tell
    trains: bool = False
    moves: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """Its own options, with their defaults."""
        return _options(self.tell)


@dataclass(frozen=True)
class NetworkDemo:
    """A demo's question to a network."""

    title: str
    tell: Tell


_demos: dict[str, Demo] = {}
_on_networks: dict[str, NetworkDemo] = {}


def demo(
    name: str, title: str, *, claims: Sequence[int], trains: bool = False, moves: bool = False
) -> Callable[[Tell], Tell]:
    """Add a demo: a function of a `Photo`, a seed and its own keyword-only options that returns a `Story`.

    title: the question. claims: the numbers of the claims that it shows; each claim has one demo.
    """

    def add(tell: Tell) -> Tell:
        if name in _demos:
            raise ValueError(f"there is a demo {name!r} already")
        for number in claims:
            taken = next((other.name for other in _demos.values() if number in other.claims), None)
            if taken is not None:
                raise ValueError(f"claim {number} is shown by {taken!r} already")
        _demos[name] = Demo(name, title, tuple(claims), tell, trains, moves)
        return tell

    return add


def on_network(name: str, title: str) -> Callable[[Tell], Tell]:
    """Add the demo's question to a network: a function of a `Model`, photos, a seed and options; returns a `Story`.

    title: the question, short, as the network's name stands before it.
    """

    def add(tell: Tell) -> Tell:
        if name in _on_networks:
            raise ValueError(f"{name!r} is asked of networks already")
        _on_networks[name] = NetworkDemo(title, tell)
        return tell

    return add


def demos() -> Mapping[str, Demo]:
    """All demos by name, in the order of their first claims."""
    return dict(sorted(_demos.items(), key=lambda item: (item[1].claims or (10**6,), item[0])))


def network_demos() -> tuple[str, ...]:
    """The names of those that can be asked of a network."""
    return tuple(name for name in demos() if name in _on_networks)


def find(name: str) -> Demo:
    """The demo of this name. Raises DemoError, with the nearest names, if there is none."""
    if name in _demos:
        return _demos[name]
    known = {_plain(other): other for other in _demos}
    if _plain(name) in known:
        return _demos[known[_plain(name)]]
    close = get_close_matches(_plain(name), known, n=3, cutoff=0.5)
    hint = f"nearest: {', '.join(known[other] for other in close)}" if close else f"there are {', '.join(demos())}"
    raise DemoError(f"no demo is called {name!r}; {hint}")


def find_on_network(name: str) -> NetworkDemo:
    """The question to a network. Raises DemoError if the demo has no question to one."""
    if name not in _on_networks:
        raise DemoError(f"{name} has no question to a network; these have: {', '.join(network_demos())}")
    return _on_networks[name]


def check_options(name: str, tell: Tell, given: Mapping[str, Any]) -> None:
    """Raise DemoError for an option that the demo does not have."""
    options = _options(tell)
    for option in given:
        if option not in options:
            raise DemoError(f"{name} has no option {option!r}; it has {', '.join(options) or 'none'}")


def _options(tell: Tell) -> dict[str, Any]:
    parameters = inspect.signature(tell).parameters.values()
    return {one.name: one.default for one in parameters if one.kind is one.KEYWORD_ONLY}


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "").replace(" ", "")
