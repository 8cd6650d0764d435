"""Tensors inside whatever a layer puts out."""

from __future__ import annotations

import copy
import functools
from collections import deque
from collections.abc import Callable, ItemsView, Iterable, Iterator, ValuesView
from enum import Enum
from types import BuiltinFunctionType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from viztool.errors import LayerError

Kind = type | tuple[type, ...]

_WHOLE = (
    *(type(None), bool, int, float, complex, str, bytes, type, Enum),
    *(nn.Module, ModuleType, FunctionType, BuiltinFunctionType, MethodType),
    *(torch.dtype, torch.device, torch.Size, torch.Generator),
)
"""What is looked at from outside only."""


class UncopyableError(LayerError):
    """What an output holds cannot be had as a copy."""


def map_tensors(function: Callable[[Any], Any], output: Any, kind: Kind = Tensor) -> Any:
    """`output` with `function(tensor)` in place of each tensor (or each object of another `kind`).

    Goes through tuples, named tuples, lists, sets, mappings, and objects that hold tensors as attributes, however deep,
    keeping their types; all else stays as it is, the same object. Raises UncopyableError where that cannot be, as for a
    generator.
    """
    return _Map(function, kind)(output)


def tensors_in(output: Any) -> Iterator[Tensor]:
    """Every tensor in `output`, in order, found where `map_tensors` finds them."""
    return iter([output] if isinstance(output, Tensor) else _found(output, Tensor, set()))


class _Map:
    def __init__(self, function: Callable[[Any], Any], kind: Kind) -> None:
        self._function = function
        self._kind = kind
        self._made: dict[int, Any] = {}
        """By the id of what it was made from: an output may hold the same list twice, or itself."""

    def __call__(self, output: Any) -> Any:
        if isinstance(output, self._kind):
            return self._function(output)
        if isinstance(output, _WHOLE):
            return output
        if id(output) not in self._made:
            made = self._make(output)
            self._made.setdefault(id(output), made)
        return self._made[id(output)]

    def _make(self, output: Any) -> Any:
        if isinstance(output, tuple):
            return self._tuple(output)
        if isinstance(output, set | frozenset):
            return type(output)(map(self, output))
        if isinstance(output, MappingProxyType):
            return MappingProxyType({key: self(item) for key, item in output.items()})
        if isinstance(output, ValuesView):
            return dict(enumerate(map(self, output))).values()
        if isinstance(output, ItemsView):
            return {key: self(item) for key, item in output}.items()
        if isinstance(output, Iterator):
            raise UncopyableError(f"a {type(output).__name__}")
        if isinstance(output, list | deque | dict) or any(True for _ in _found(output, self._kind, set())):
            return self._changed(output)
        return output

    def _tuple(self, output: tuple[Any, ...]) -> Any:
        items = [self(item) for item in output]
        kind = type(output)
        if kind is tuple:
            return tuple(items)
        if hasattr(kind, "_make") or hasattr(kind, "n_sequence_fields"):  # named tuples, torch's own among them
            return getattr(kind, "_make", kind)(items)
        return self._with_attributes(output, tuple.__new__(kind, items))

    def _changed(self, output: Any) -> Any:
        """A shallow copy, in which what holds tensors is then replaced."""
        try:
            made = copy.copy(output)
        except Exception:
            made = output
        if made is output:
            raise UncopyableError(f"a {type(output).__name__}")
        self._made[id(output)] = made
        if isinstance(output, list):
            made[:] = map(self, output)
        elif isinstance(output, deque):
            made.extend([self(made.popleft()) for _ in output])
        elif isinstance(output, dict):
            for key, item in output.items():
                made[key] = self(item)
        return self._with_attributes(output, made)

    def _with_attributes(self, output: Any, made: Any) -> Any:
        for name, value in _attributes(output):
            # Some dictionaries of model libraries can also be read by attributes.
            mirrored = isinstance(output, dict) and name in output and output[name] is value
            try:
                object.__setattr__(made, name, made[name] if mirrored else self(value))
            except (AttributeError, TypeError):
                raise UncopyableError(f"a {type(output).__name__}") from None
        return made


def _found(output: Any, kind: Kind, met: set[int]) -> Iterator[Any]:
    """Every object of the kind in `output`, in order."""
    if isinstance(output, kind):
        yield output
    elif not isinstance(output, _WHOLE) and id(output) not in met:
        met.add(id(output))
        for part in _parts(output):
            yield from _found(part, kind, met)


def _parts(output: Any) -> Iterable[Any]:
    if isinstance(output, tuple | list | deque | set | frozenset | ValuesView):
        yield from output
    elif isinstance(output, dict | MappingProxyType):
        yield from output.values()
    elif isinstance(output, ItemsView):
        yield from (item for _, item in output)
    for name, value in _attributes(output):
        if not (isinstance(output, dict) and name in output and output[name] is value):
            yield value


def _attributes(output: Any) -> list[tuple[str, Any]]:
    """What an object holds by name, in its `__dict__` and its `__slots__`; nothing is computed."""
    found = list(getattr(output, "__dict__", {}).items())
    for kind in type(output).__mro__:
        if "__slots__" in vars(kind) or kind is functools.partial:
            slots = [(name, slot) for name, slot in vars(kind).items() if type(slot).__name__ == "member_descriptor"]
            found += [(name, slot.__get__(output)) for name, slot in slots if _is_filled(slot, output)]
    return found


def _is_filled(slot: Any, output: Any) -> bool:
    try:
        slot.__get__(output)
    except AttributeError:
        return False
    return True
