"""Which layers a pattern names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TypeAlias

from torch import nn

from viztool.errors import LayerError
from viztool.hooks.naming import COMPILED, kind_of

Pattern: TypeAlias = str | nn.Module
"""What names layers: see `select`."""

Patterns: TypeAlias = Pattern | Iterable[Pattern]

STAGES = "stages"
"""The word for the last layer at each resolution; see `viztool.hooks.stages`."""


def select(layers: Mapping[str, nn.Module], patterns: Patterns) -> list[str]:
    """The names of the layers that any of the patterns picks, in definition order.

    A pattern is an exact name; a glob, in which `*` also crosses dots (`layer4.*.conv2`, `*.bn1`);
    `re:` and a regular expression for the whole name; `type:` and the name of a module class or
    of one of its bases (`type:Conv2d`); or a module of the network itself (`net.layer4[-1]`), by its first
    name. Raises LayerError, with the nearest names, for a pattern that picks nothing.
    """
    wanted = as_list(patterns)
    if not wanted:
        raise LayerError("no layer is named; name at least one, or leave the selection out to take all")
    chosen: set[str] = set()
    for pattern in wanted:
        picked = _pick(layers, pattern)
        if not picked:
            raise LayerError(f"no layer matches {pattern!r}; {_hint(layers, str(pattern))}")
        chosen.update(picked)
    return [name for name in layers if name in chosen]


def as_list(patterns: Patterns) -> list[Pattern]:
    """The patterns one by one. A module is one, though it may be a sequence of others."""
    return [patterns] if isinstance(patterns, str | nn.Module) else list(patterns)


def name_of(layers: Mapping[str, nn.Module], layer: Pattern) -> str:
    """A name as it is; of a module, its first in the network. Raises LayerError for a module that it does not hold."""
    if isinstance(layer, str):
        return layer
    inner = layer._modules.get(COMPILED, layer)
    name = next((name for name, module in layers.items() if module is inner), None)
    if name is None:
        raise LayerError(f"the {kind_of(layer)} that is given as a layer is not part of this network")
    return name


def as_words(layers: Mapping[str, nn.Module], patterns: Patterns) -> list[str]:
    """The patterns one by one, in words: modules by their names."""
    return [
        pattern if isinstance(pattern, str) else exactly([name_of(layers, pattern)])[0] for pattern in as_list(patterns)
    ]


def exactly(names: Iterable[str]) -> list[str]:
    """Patterns that pick just the layers of these names, also one that is called like the word for stages."""
    return [f"re:{name}" if name == STAGES else name for name in names]


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Up to three of the known names that look most like `name`, best first."""
    names = [other for other in known if other]
    close = get_close_matches(name, names, n=3, cutoff=0.5)
    # A name's last part often says enough: "conv2" for "layer1.0.conv2".
    ending = [other for other in names if name and other.endswith("." + name)]
    return list(dict.fromkeys(close + ending))[:3]


def _pick(layers: Mapping[str, nn.Module], given: Pattern) -> list[str]:
    pattern = name_of(layers, given)
    if pattern in layers:
        return [pattern]
    if pattern.startswith("re:"):
        try:
            expression = re.compile(pattern[3:])
        except re.error as error:
            raise LayerError(f"{pattern!r} is not a regular expression: {error}") from None
        return [name for name in layers if name and expression.fullmatch(name)]
    if pattern.startswith("type:"):
        wanted = pattern[5:]
        return [name for name, module in layers.items() if wanted in _type_names(module)]
    return [name for name in layers if name and fnmatchcase(name, pattern)]


def _type_names(module: nn.Module) -> set[str]:
    return {cls.__name__ for cls in type(module).__mro__ if issubclass(cls, nn.Module)}


def _hint(layers: Mapping[str, nn.Module], pattern: str) -> str:
    if pattern.startswith("type:"):
        types = sorted({type(module).__name__ for module in layers.values()})
        close = get_close_matches(pattern[5:], types, n=3, cutoff=0.5) or types[:3]
        return "nearest: " + ", ".join(f"type:{name}" for name in close)
    close = nearest(pattern.removeprefix("re:"), layers) or [name for name in layers if name][:3]
    return "nearest: " + ", ".join(close) if close else "the network holds no layers"
