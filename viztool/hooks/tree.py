"""Tensors inside whatever a layer puts out."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor


def map_tensors(function: Callable[[Any], Any], output: Any, kind: type = Tensor) -> Any:
    """`output` with `function(tensor)` in place of each tensor (or each object of another `kind`).

    Goes through tuples, named tuples, lists, mappings and dataclasses, keeping their types; all else
    stays as it is, the same object.
    """
    if isinstance(output, kind):
        return function(output)
    if isinstance(output, tuple) and hasattr(output, "_fields"):
        return type(output)(*(map_tensors(function, item, kind) for item in output))
    if isinstance(output, tuple | list):
        return type(output)(map_tensors(function, item, kind) for item in output)
    if isinstance(output, Mapping):
        # Copied first: a subclass (of a model library, say) may need more than its items to be made.
        mapped: Any = copy.copy(output)
        for key, item in output.items():
            mapped[key] = map_tensors(function, item, kind)
        return mapped
    if dataclasses.is_dataclass(output) and not isinstance(output, type):
        shallow = copy.copy(output)
        for field in dataclasses.fields(output):
            object.__setattr__(shallow, field.name, map_tensors(function, getattr(output, field.name), kind))
        return shallow
    return output


def tensors_in(output: Any) -> Iterator[Tensor]:
    """Every tensor in `output`, in order, found where `map_tensors` finds them."""
    found: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    map_tensors(note, output)
    return iter(found)
