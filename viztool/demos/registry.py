"""The demos there are, and how one is added."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from viztool.demos.errors import DemoError
from viztool.demos.photo import HOPPER
from viztool.demos.story import Story
from viztool.registry import Registry

Tell: TypeAlias = Callable[..., Story]
"""From a `Photo` and a seed, and options by keyword, to a story; on a network from a `Model`, photos and a seed."""


@dataclass(frozen=True)
class Demo:
    """claims: their numbers in CLAIMS. tell: draws it, and raises WrongNumberError if a number is not as it should be.

    trains: whether it trains networks, and so takes tens of seconds. moves: whether it is a moving picture.
    photo: what it works on if it is given none. sees: whether a photo is to be seen on its sheet.
    """

    name: str
    title: str
    claims: tuple[int, ...]
    tell: Tell
    trains: bool = False
    moves: bool = False
    photo: str = HOPPER
    sees: bool = True

    @property
    def options(self) -> dict[str, Any]:
        """Its own options, with their defaults."""
        return _options(self.tell)


@dataclass(frozen=True)
class NetworkDemo:
    """A demo's question to a network. sees: whether photos have a part in the answer."""

    title: str
    tell: Tell
    sees: bool = True


_demos = Registry[Demo]("demo", DemoError)
_on_networks = Registry[NetworkDemo]("question to networks", DemoError)


def demo(
    name: str,
    title: str,
    *,
    claims: Sequence[int],
    trains: bool = False,
    moves: bool = False,
    photo: str = HOPPER,
    sees: bool = True,
) -> Callable[[Tell], Tell]:
    """Add a demo: a function of a `Photo`, a seed and its own keyword-only options that returns a `Story`.

    title: the question. claims: the numbers of the claims that it shows; each claim has one demo. photo: the one in
    `photos/` that shows it best; sees: False for a demo that no photo has a part in.
    """

    def add(tell: Tell) -> Tell:
        for number in claims:
            taken = next((other.name for other in demos().values() if number in other.claims), name)
            if taken != name:
                raise ValueError(f"claim {number} is shown by {taken!r} already")
        _demos.add(name, Demo(name, title, tuple(claims), tell, trains, moves, photo, sees))
        return tell

    return add


def on_network(name: str, title: str, *, sees: bool = True) -> Callable[[Tell], Tell]:
    """Add the demo's question to a network: a function of a `Model`, photos, a seed and options; returns a `Story`.

    title: the question, short, as the network's name stands before it. sees: False if no photo has a part in it.
    """

    def add(tell: Tell) -> Tell:
        _on_networks.add(name, NetworkDemo(title, tell, sees))
        return tell

    return add


def demos() -> Mapping[str, Demo]:
    """All demos by name, in the order of their first claims."""
    every = [_demos.find(name) for name in _demos.names()]
    return {one.name: one for one in sorted(every, key=lambda one: (one.claims or (10**6,), one.name))}


def network_demos() -> tuple[str, ...]:
    """The names of those that can be asked of a network."""
    return tuple(name for name in demos() if name in _on_networks.names())


def find(name: str) -> Demo:
    """The demo of this name. Raises DemoError, with the nearest names, if there is none."""
    return _demos.find(name)


def find_on_network(name: str) -> NetworkDemo:
    """The question to a network. Raises DemoError if the demo has no question to one."""
    if name not in _on_networks.names():
        raise DemoError(f"{name} has no question to a network; these have: {', '.join(network_demos())}")
    return _on_networks.find(name)


def check_options(name: str, tell: Tell, given: Mapping[str, Any]) -> None:
    """Raise DemoError for an option that the demo does not have."""
    options = _options(tell)
    for option in given:
        if option not in options:
            raise DemoError(f"{name} has no option {option!r}; it has {', '.join(options) or 'none'}")


def _options(tell: Tell) -> dict[str, Any]:
    parameters = inspect.signature(tell).parameters.values()
    return {one.name: one.default for one in parameters if one.kind is one.KEYWORD_ONLY}
