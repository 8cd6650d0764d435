"""What a tensor sees after a part of it has been written: `buffer[:, 2:].copy_(x)`."""

from __future__ import annotations

from torch import Tensor

from viztool.inspect import windows as along
from viztool.inspect.lattice import Dim
from viztool.inspect.rules.base import LostFieldError, TensorFields, through


def lifted(fields: TensorFields, part: Tensor, owner: Tensor) -> TensorFields:
    """The fields of `owner` if `part`, a view of it, has these. What is outside the part sees nothing.

    Which dims belong together, and where the part begins, is in their strides. Raises LostFieldError if it is
    not clear there.
    """
    places = {stride: at for at, (stride, size) in enumerate(zip(part.stride(), part.shape, strict=True)) if size > 1}
    start = int(part.storage_offset() - owner.storage_offset())
    dims: list[Dim] = [None] * owner.dim()
    for stride, at in sorted(((owner.stride(at), at) for at in range(owner.dim())), reverse=True):
        if owner.shape[at] == 1:
            continue
        first, start = divmod(start, stride)
        place = places.pop(stride, None)
        if place is not None:
            dims[at] = through(fields.dims[place], along.shifted(-first))
    if any(fields.dims[place] is not None for place in places.values()):  # a slice with a step
        raise LostFieldError
    gone = [dim for dim, size in zip(fields.dims, part.shape, strict=True) if size == 1]
    return TensorFields(tuple(dims), fields.context).with_context(*gone)
