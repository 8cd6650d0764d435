"""Names of layers, and of their calls."""

from __future__ import annotations

CALL = "#"
"""Between a layer's name and the number of its call, where it is called more than once in a forward."""


def layer_of(key: str) -> str:
    """The layer that a key is of."""
    return key.partition(CALL)[0]


def shown(key: str) -> str:
    """A layer, or one of its calls, in words."""
    name, _, call = key.partition(CALL)
    name = name or "the network itself"
    return f"{name}, call {call}" if call else name
