"""Tensors inside whatever a layer puts out."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn


def map_tensors(function: Callable[[Any], Any], output: Any, kind: type | tuple[type, ...] = Tensor) -> Any:
    """`output` with `function(tensor)` in place of each tensor (or each object of another `kind`).

    Goes through tuples, named tuples, lists, mappings, dataclasses and other objects that have tensors
    as attributes, keeping their types; all else stays as it is, the same object.
    """
    if isinstance(output, kind):
        return function(output)
    if isinstance(output, tuple | list):
        make = getattr(output, "_make", type(output))  # a named tuple is not made from one iterable
        return make(map_tensors(function, item, kind) for item in output)
    if isinstance(output, Mapping):
        # Copied first: a subclass (of a model library, say) may need more than its items to be made.
        mapped: Any = copy.copy(output)
        for key, item in output.items():
            mapped[key] = map_tensors(function, item, kind)
        return mapped
    attributes = list(_attributes(output, kind))
    if attributes:
        shallow = copy.copy(output)
        for name in attributes:
            object.__setattr__(shallow, name, map_tensors(function, getattr(output, name), kind))
        return shallow
    return output


def _attributes(output: Any, kind: type | tuple[type, ...]) -> Iterable[str]:
    """The attributes of an object to go through: a dataclass's fields, or those that hold a tensor."""
    if isinstance(output, type | nn.Module):
        return ()
    if dataclasses.is_dataclass(output):
        return (field.name for field in dataclasses.fields(output))
    return (name for name, value in getattr(output, "__dict__", {}).items() if isinstance(value, kind))


def tensors_in(output: Any) -> Iterator[Tensor]:
    """Every tensor in `output`, in order, found where `map_tensors` finds them."""
    found: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    map_tensors(note, output)
    return iter(found)
