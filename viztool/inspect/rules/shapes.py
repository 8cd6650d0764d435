"""Functions that move, split, join and rename dims, or take a part of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from math import prod
from typing import Any

from viztool.inspect import windows as along
from viztool.inspect.lattice import Dim, Lattice, Mixed, Within
from viztool.inspect.rules.base import (
    Call,
    LostFieldError,
    Rule,
    Shape,
    TensorFields,
    axes_of,
    of_first,
    of_one,
    through,
    union,
)


def reshape(call: Call, *_args: Any, **_kwargs: Any) -> TensorFields:
    """Dims that are the same before and after keep what they see, in whatever way the others are regrouped."""
    return reshaped(call.fields, call.shape, call.outputs[0])


def reshaped(fields: TensorFields, before: Shape, after: Shape) -> TensorFields:
    left, right = 0, 0
    shortest = min(len(before), len(after))
    while right < shortest and before[-1 - right] == after[-1 - right]:
        right += 1
    while left < shortest - right and before[left] == after[left]:
        left += 1
    start, stop = left, left
    middle: list[Dim] = []
    gone: list[Dim] = []
    while start < len(before) - right or stop < len(after) - right:
        first_in, first_out = start, stop
        count_in, count_out = 1, 1
        while (first_in == start and first_out == stop) or count_in != count_out:
            if count_in <= count_out and start < len(before) - right:
                count_in *= before[start]
                start += 1
            else:
                count_out *= after[stop]
                stop += 1
        dims, lost = _regrouped(fields.dims[first_in:start], before[first_in:start], after[first_out:stop])
        middle += dims
        gone += lost
    dims_after = (*fields.dims[:left], *middle, *fields.dims[len(before) - right :])
    return fields.with_dims(dims_after).with_context(*gone)


def _regrouped(dims: Sequence[Dim], before: Shape, after: Shape) -> tuple[list[Dim], list[Dim]]:
    """What the dims of one group see after regrouping, and what dims of size 1 saw that are gone."""
    gone = [dim for dim, size in zip(dims, before, strict=True) if size == 1]
    real = [(dim, size) for dim, size in zip(dims, before, strict=True) if size > 1]
    parts = [size for size in after if size > 1]
    spatial = [dim for dim, _ in real if axes_of(dim)]
    if len(real) == 1 and (len(parts) == 1 or isinstance(real[0][0], Within)):
        new: list[Dim] = [real[0][0]] * len(parts)
    elif not spatial:
        new = [None] * len(parts)  # channels, and places within blocks that join them
    elif spatial == [real[0][0]] and len(parts) == 1 and not any(dim for dim, _ in real[1:]):
        # Units of the outermost dim, each repeated: sub-pixel upsampling written as a view.
        new = [through(spatial[0], along.nearest(Fraction(1, prod(size for _, size in real[1:]))))]
    elif len(real) == 1 and len(parts) == 2 and isinstance(spatial[0], Lattice):
        new = [through(spatial[0], along.sliding(parts[1], parts[1])), Within(spatial[0].axis)]
    else:
        new = [Mixed(frozenset[int]().union(*map(axes_of, spatial)))] * len(parts)
    remaining = iter(new)
    return [next(remaining) if size > 1 else None for size in after], gone


def permute(call: Call, *dims: Any, **kwargs: Any) -> TensorFields:
    order = kwargs.get("dims", dims[0] if dims and isinstance(dims[0], tuple | list) else dims)
    return call.fields.with_dims(call.fields.dims[at] for at in order)


def transpose(call: Call, dim0: int, dim1: int) -> TensorFields:
    dims = list(call.fields.dims)
    dims[dim0], dims[dim1] = dims[dim1], dims[dim0]
    return call.fields.with_dims(dims)


def reverse(call: Call, *_args: Any) -> TensorFields:
    return call.fields.with_dims(reversed(call.fields.dims))


def movedim(call: Call, source: Any, destination: Any) -> TensorFields:
    count = len(call.shape)
    sources = [at % count for at in _several(source)]
    targets = [at % count for at in _several(destination)]
    placed = dict(zip(targets, sources, strict=True))
    others = iter(at for at in range(count) if at not in sources)
    return call.fields.with_dims(call.fields.dims[placed[at] if at in placed else next(others)] for at in range(count))


def unsqueeze(call: Call, dim: int) -> TensorFields:
    dims = list(call.fields.dims)
    dims.insert(dim % (len(dims) + 1), None)
    return call.fields.with_dims(dims)


def squeeze(call: Call, dim: Any = None) -> TensorFields:
    count = len(call.shape)
    chosen = range(count) if dim is None else [at % count for at in _several(dim)]
    dropped = {at for at in chosen if call.shape[at] == 1}
    gone = [call.fields.dims[at] for at in dropped]
    kept = [dim for at, dim in enumerate(call.fields.dims) if at not in dropped]
    return call.fields.with_dims(kept).with_context(*gone)


def expand(call: Call, *_args: Any, **_kwargs: Any) -> TensorFields:
    """`expand` and `repeat`: a dim of size 1 that is repeated is the same for all units from then on."""
    new = len(call.outputs[0]) - len(call.shape)
    dims: list[Dim] = [None] * new
    gone: list[Dim] = []
    for dim, before, after in zip(call.fields.dims, call.shape, call.outputs[0][new:], strict=True):
        if before == after or not isinstance(dim, Lattice | Mixed):
            dims.append(dim)
        elif before == 1:
            dims.append(None)
            gone.append(dim)
        else:
            dims.append(Mixed(axes_of(dim)))
    return call.fields.with_dims(dims).with_context(*gone)


def flip(call: Call, *dims: Any, **kwargs: Any) -> TensorFields:
    return _shuffled(call, kwargs.get("dims", dims[0] if dims and isinstance(dims[0], tuple | list) else dims))


def roll(call: Call, shifts: Any, dims: Any = None) -> TensorFields:
    return _shuffled(call, range(len(call.shape)) if dims in (None, (), []) else _several(dims))


def index_select(call: Call, dim: int, *_args: Any, **_kwargs: Any) -> TensorFields:
    return _shuffled(call, [dim])


def split(call: Call, _sizes: Any = None, dim: int = 0, **_kwargs: Any) -> list[TensorFields]:
    at = dim % len(call.shape)
    parts, start = [], 0
    for shape in call.outputs:
        parts.append(getitem(call, (slice(None),) * at + (slice(start, start + shape[at]),)))
        start += shape[at]
    return parts


def unbind(call: Call, dim: int = 0) -> TensorFields:
    return select(call, dim)


def narrow(call: Call, dim: int, start: int, length: int) -> TensorFields:
    first = int(start) % call.shape[dim]
    return getitem(call, (slice(None),) * (dim % len(call.shape)) + (slice(first, first + length),))


def select(call: Call, dim: int, *_args: Any) -> TensorFields:
    return getitem(call, (slice(None),) * (dim % len(call.shape)) + (0,))


def getitem(call: Call, index: Any) -> TensorFields:
    """Basic indexing, and one list or tensor of positions; more of those give fewer dims than is said here."""
    items = list(index) if isinstance(index, tuple) else [index]
    used = sum(item is not None and item is not Ellipsis for item in items)
    rest = [slice(None)] * (len(call.shape) - used)
    where = next((at for at, item in enumerate(items) if item is Ellipsis), len(items))
    items[where : where + 1] = rest
    dims: list[Dim] = []
    gone: list[Dim] = []
    at = 0
    for item in items:
        if item is None:
            dims.append(None)
            continue
        dim, size = call.fields.dims[at], call.shape[at]
        at += 1
        if isinstance(item, slice) and item.indices(size) == (0, size, 1):
            dims.append(dim)
        elif isinstance(dim, Within):
            raise LostFieldError
        elif isinstance(item, slice):
            start, _, step = item.indices(size)
            dims.append(through(dim, along.shifted(start, step)))
        elif isinstance(item, int) and not isinstance(item, bool):
            gone.append(dim)
        else:
            dims.append(_unordered(dim))
    return call.fields.with_dims(dims).with_context(*gone)


def cat(call: Call, _tensors: Any = None, dim: int = 0, **kwargs: Any) -> TensorFields:
    """Along channels, a unit sees what the units at its place in each part see. Along space the order is lost."""
    at = kwargs.get("axis", dim) % len(call.outputs[0])
    joined = _aligned(call.operands)
    return joined.with_dims(_unordered(seen) if place == at else seen for place, seen in enumerate(joined.dims))


def stack(call: Call, _tensors: Any = None, dim: int = 0, **_kwargs: Any) -> TensorFields:
    joined = _aligned(call.operands)
    at = dim % len(call.outputs[0])
    return joined.with_dims((*joined.dims[:at], None, *joined.dims[at:]))


def _aligned(operands: Sequence[tuple[TensorFields, Shape]]) -> TensorFields:
    context = frozenset[int]().union(*(fields.context for fields, _ in operands))
    places = zip(*(fields.dims for fields, _ in operands), strict=True)
    return TensorFields(tuple(union(place) for place in places), context)


def _shuffled(call: Call, dims: Iterable[int]) -> TensorFields:
    """The units along these dims change places."""
    chosen = {at % len(call.shape) for at in dims}
    return call.fields.with_dims(_unordered(dim) if at in chosen else dim for at, dim in enumerate(call.fields.dims))


def _unordered(dim: Dim) -> Dim:
    return Mixed(axes_of(dim)) if isinstance(dim, Lattice) else dim


def _several(value: Any) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,)


RULES: dict[str, Rule] = {
    **dict.fromkeys(["view", "reshape", "flatten", "unflatten", "ravel"], of_one(reshape)),
    **dict.fromkeys(["view_as", "reshape_as"], of_first(reshape)),
    "permute": of_one(permute),
    **dict.fromkeys(["transpose", "swapaxes", "swapdims"], of_one(transpose)),
    **dict.fromkeys(["T.get", "t"], of_one(reverse)),
    "mT.get": of_one(lambda call, *_args: transpose(call, -2, -1)),
    **dict.fromkeys(["movedim", "moveaxis"], of_one(movedim)),
    "unsqueeze": of_one(unsqueeze),
    "squeeze": of_one(squeeze),
    **dict.fromkeys(["expand", "broadcast_to", "repeat", "tile"], of_one(expand)),
    "expand_as": of_first(expand),
    "flip": of_one(flip),
    "roll": of_one(roll),
    "index_select": of_one(index_select),
    "channel_shuffle": of_one(lambda call, *_args, **_kwargs: call.fields),
    **dict.fromkeys(["split", "chunk", "tensor_split", "split_with_sizes"], of_one(split)),
    "unbind": of_one(unbind),
    "narrow": of_one(narrow),
    "select": of_one(select),
    "__getitem__": of_one(getitem),
    **dict.fromkeys(["cat", "concat", "concatenate"], cat),
    "stack": stack,
}
