"""The graph that a tensor came from, and what has to be put right in it before one derives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, overload

import torch
from torch import Tensor
from torch.autograd.graph import Node

from viztool.errors import NoGradientError

_OVERWRITTEN = "modified by an inplace operation"


def nodes(ends: Iterable[Tensor]) -> Iterator[Node]:
    """Every node that these tensors came from, once."""
    todo = [end.grad_fn for end in ends]
    seen: set[Node] = set()
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        todo.extend(before for before, _ in node.next_functions)


def mend_norms(*ends: Tensor) -> None:
    """Before the gradient of `ends` is asked for: let each batch or instance norm get its own one in the usual order.

    For a single image torch (2.15, on a CPU) takes the wrong gradient for each place, silently, where the norm was
    given its maps in the usual order and the gradient comes with channels last in memory, as it does from tokens:
    `norm(x).flatten(2).transpose(1, 2)`, or from a convolution in channels_last. The values are the same; no other
    layer is known to need it.
    """
    for node in nodes(ends):
        if "BatchNorm" in node.name():
            node.register_prehook(_in_usual_order)


@overload
def gradients(
    ends: Sequence[Tensor],
    at: Sequence[Tensor],
    starts: Sequence[Tensor],
    *,
    keep: bool = ...,
    unused: Literal[False] = ...,
) -> tuple[Tensor, ...]: ...
@overload
def gradients(
    ends: Sequence[Tensor], at: Sequence[Tensor], starts: Sequence[Tensor], *, keep: bool = ..., unused: Literal[True]
) -> tuple[Tensor | None, ...]: ...
def gradients(
    ends: Sequence[Tensor],
    at: Sequence[Tensor],
    starts: Sequence[Tensor],
    *,
    keep: bool = False,
    unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """What comes back from `starts`, the gradients at `ends`, to each of `at`; norms are mended on the way.

    keep: the graph, for another time. unused: None at what the ends do not come from, in place of torch's error.
    Raises NoGradientError for a network that overwrites what its own derivative needs.
    """
    mend_norms(*ends)
    try:
        return torch.autograd.grad(ends, at, starts, retain_graph=keep, allow_unused=unused)
    except RuntimeError as error:
        if _OVERWRITTEN not in str(error):
            raise
        raise NoGradientError(
            "the network overwrites in place what its own gradient needs, so none can be had, in training neither: "
            "take inplace=True from the layer that does it, or choose a later layer"
        ) from error


def _in_usual_order(gradients: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    first = gradients[0]
    if first is None or len(first) > 1:  # an instance norm is a batch norm of one image with many channels
        return gradients
    return (first.contiguous(), *gradients[1:])
