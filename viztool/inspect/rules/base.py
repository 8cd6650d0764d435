"""What a rule is given and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from viztool.inspect.lattice import Dim, Lattice, Mixed, Windows, Within

Shape = tuple[int, ...]

_NO_AXES: frozenset[int] = frozenset()


class LostFieldError(Exception):
    """What the units of a result see is not known."""


@dataclass(frozen=True, slots=True)
class TensorFields:
    """What the units of one tensor see.

    dims: one for each dim of the tensor.
    context: the input's axes along which every unit also sees pixels outside its own field, the same ones for
        all units: through global pooling, a squeeze-and-excitation gate, a norm over positions.
    """

    dims: tuple[Dim, ...]
    context: frozenset[int] = frozenset()

    def with_dims(self, dims: Iterable[Dim]) -> TensorFields:
        return TensorFields(tuple(dims), self.context)

    def with_context(self, *seen: Dim) -> TensorFields:
        """These fields, where each unit also depends on all units along dims that see this."""
        context = self.context.union(*[axes_of(dim) for dim in seen])
        return self if context == self.context else TensorFields(self.dims, context)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a torch function.

    operands: (fields, shape) of every tensor argument that depends on the input, in order.
    leading: whether the first of them is the first argument of the function.
    outputs: the shape of each tensor in the result.
    """

    operands: Sequence[tuple[TensorFields, Shape]]
    leading: bool
    outputs: Sequence[Shape]

    @property
    def fields(self) -> TensorFields:
        return self.operands[0][0]

    @property
    def shape(self) -> Shape:
        return self.operands[0][1]


class Rule(Protocol):
    """From the call and the function's own arguments to the fields of each tensor in the result.

    One TensorFields stands for all tensors in the result.
    """

    def __call__(self, call: Call, *args: Any, **kwargs: Any) -> TensorFields | list[TensorFields]: ...


def of_one(rule: Callable[..., TensorFields | list[TensorFields]]) -> Rule:
    """A rule for functions of one tensor, whose other arguments it is given.

    Other tensors among them (the weights of a dynamic convolution) may depend on the input only through a
    global pooling: then the result has that context too.
    """

    def checked(call: Call, *args: Any, **kwargs: Any) -> TensorFields | list[TensorFields]:
        if not call.leading:
            raise LostFieldError
        if not args:
            kwargs.pop("input")
        result = rule(call, *args[1:], **kwargs)
        others = [fields for fields, _ in call.operands[1:]]
        if not others:
            return result
        if any(dim is not None for fields in others for dim in fields.dims):
            raise LostFieldError
        context = frozenset[int]().union(*(fields.context for fields in others))
        several = result if isinstance(result, list) else [result]
        return [TensorFields(fields.dims, fields.context | context) for fields in several]

    return checked


def of_first(rule: Callable[..., TensorFields | list[TensorFields]]) -> Rule:
    """A rule for functions that take from other tensors no more than their shape or type."""

    def checked(call: Call, *args: Any, **kwargs: Any) -> TensorFields | list[TensorFields]:
        if not call.leading:
            raise LostFieldError
        return rule(call, *args[1:], **kwargs)

    return checked


def axes_of(dim: Dim) -> frozenset[int]:
    """The axes of the input that units which differ only along this dim see different parts of, or the whole of."""
    if dim is None or isinstance(dim, Within):
        return _NO_AXES
    return dim.axes if isinstance(dim, Mixed) else frozenset([dim.axis])


def through(dim: Dim, windows: Windows) -> Dim:
    """What units see that are computed from the units along `dim` by these windows."""
    if isinstance(dim, Within):
        raise LostFieldError
    if not isinstance(dim, Lattice):
        return dim
    return dim.through(windows) or Mixed(frozenset([dim.axis]))


def without(fields: TensorFields, at: int) -> TensorFields:
    """What units see that are computed from all units along a dim, which nearly always is that of channels."""
    dims = (*fields.dims[:at], None, *fields.dims[at + 1 :])
    return fields.with_dims(dims).with_context(fields.dims[at])


def union(dims: Iterable[Dim]) -> Dim:
    """What units see that are computed from one unit along each of `dims`.

    Something that sees a whole axis does not widen a lattice: that is in the context already.
    """
    seen = [dim for dim in dims if dim is not None]
    if all(dim == seen[0] for dim in seen):
        return seen[0] if seen else None
    axes = _NO_AXES.union(*[axes_of(dim) for dim in seen])
    lattices = [dim for dim in seen if isinstance(dim, Lattice)]
    if len(axes) > 1 or any(isinstance(dim, Mixed | Within) for dim in seen):
        return Mixed(axes)
    joined: Lattice | None = lattices[0]
    for lattice in lattices[1:]:
        joined = joined and joined.union(lattice)
    return joined or Mixed(axes)
