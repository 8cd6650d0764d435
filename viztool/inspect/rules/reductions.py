"""Functions that reduce along dims, mix along them, or normalise over them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from viztool.inspect.lattice import Dim, Lattice, Whole
from viztool.inspect.rules.base import Call, LostFieldError, Rule, TensorFields, of_one, without
from viztool.inspect.rules.pointwise import pointwise

_REDUCTIONS = """
mean sum nansum nanmean prod amax amin max min std var logsumexp any all argmax argmin median var_mean std_mean
count_nonzero aminmax
"""


def reduction(call: Call, dim: Any = None, *_args: Any, axis: Any = None, **_kwargs: Any) -> TensorFields:
    """All units along the dims become one; kept as a dim of size 1, it sees the whole axis."""
    dims = _positions(call, dim if axis is None else axis)
    seen = [call.fields.dims[at] for at in dims]
    kept = len(call.outputs[0]) == len(call.shape)
    after = [
        _everything(field) if at in dims else field
        for at, field in enumerate(call.fields.dims)
        if kept or at not in dims
    ]
    return call.fields.with_dims(after).with_context(*seen)


def norm(call: Call, p: Any = None, dim: Any = None, *_args: Any, **_kwargs: Any) -> TensorFields:
    """Tensor.norm and torch.linalg.vector_norm, whose first argument is the order."""
    return reduction(call, dim)


def extremum(call: Call, *args: Any, **kwargs: Any) -> TensorFields | list[TensorFields]:
    """`max` and `min`: of two tensors unit by unit, or of one along a dim."""
    if (len(args) > 1 and hasattr(args[1], "shape")) or "other" in kwargs:
        return pointwise(call)
    return of_one(reduction)(call, *args, **kwargs)


def normalized(call: Call, dims: Iterable[int]) -> TensorFields:
    """Each unit is scaled by a statistic over the dims, so it also depends on all units along them."""
    return call.fields.with_context(*(call.fields.dims[at] for at in dims))


def softmax(call: Call, dim: Any = None, *_args: Any, **_kwargs: Any) -> TensorFields:
    if dim is None:
        raise LostFieldError
    return normalized(call, _positions(call, dim))


def normalize(call: Call, p: float = 2.0, dim: int = 1, *_args: Any, **_kwargs: Any) -> TensorFields:
    return normalized(call, _positions(call, dim))


def batch_norm(
    call: Call,
    _1: Any = None,
    _2: Any = None,
    _3: Any = None,
    _4: Any = None,
    training: bool = False,
    *_args: Any,
    **_kwargs: Any,
) -> TensorFields:
    """With the statistics of the batch. The four tensors stand in another order in torch than in nn.functional."""
    if not training:
        return call.fields
    return normalized(call, [at for at in range(len(call.shape)) if at != 1])


def instance_norm(
    call: Call,
    _1: Any = None,
    _2: Any = None,
    _3: Any = None,
    _4: Any = None,
    use_input_stats: bool = True,
    *_args: Any,
    **_kwargs: Any,
) -> TensorFields:
    return normalized(call, range(2, len(call.shape)) if use_input_stats else [])


def group_norm(call: Call, *_args: Any, **_kwargs: Any) -> TensorFields:
    return normalized(call, range(1, len(call.shape)))


def layer_norm(call: Call, normalized_shape: Sequence[int], *_args: Any, **_kwargs: Any) -> TensorFields:
    return normalized(call, range(len(call.shape) - len(normalized_shape), len(call.shape)))


def local_response_norm(call: Call, *_args: Any, **_kwargs: Any) -> TensorFields:
    return normalized(call, [1])


def linear(call: Call, *_args: Any, **_kwargs: Any) -> TensorFields:
    """Mixes along the last dim: nearly always channels."""
    return without(call.fields, len(call.shape) - 1)


def _positions(call: Call, dim: Any) -> set[int]:
    if isinstance(dim, bool):
        raise LostFieldError
    if dim is None or dim == ():
        return set(range(len(call.shape)))
    return {int(at) % len(call.shape) for at in (dim if isinstance(dim, tuple | list) else (dim,))}


def _everything(dim: Dim) -> Dim:
    return Whole(dim.axis) if isinstance(dim, Lattice | Whole) else None


RULES: dict[str, Rule] = {
    **dict.fromkeys(_REDUCTIONS.split(), of_one(reduction)),
    "max": extremum,
    "min": extremum,
    **dict.fromkeys(["norm", "linalg_norm", "linalg_vector_norm"], of_one(norm)),
    **dict.fromkeys(["softmax", "log_softmax", "softmin", "cumsum"], of_one(softmax)),
    "normalize": of_one(normalize),
    "batch_norm": of_one(batch_norm),
    "instance_norm": of_one(instance_norm),
    "group_norm": of_one(group_norm),
    **dict.fromkeys(["layer_norm", "rms_norm"], of_one(layer_norm)),
    "local_response_norm": of_one(local_response_norm),
    **dict.fromkeys(["linear", "matmul", "__matmul__"], of_one(linear)),
}
