"""What operations an output was made by: the nodes of its autograd graph."""

from __future__ import annotations

import re
from collections.abc import Iterable

from torch import Tensor
from torch.autograd.graph import Node

from viztool.attribution.rules import is_own
from viztool.errors import ModelError
from viztool.tensors.graph import nodes


def operation(node: Node) -> str:
    """The name of the operation: "Relu" of a ReluBackward0."""
    return re.sub(r"Backwards?\d*$", "", node.name().rpartition("::")[2])


_LINEAR = """
Add Sub Rsub Neg Mul Div Convolution Addmm Mm Bmm Mv Dot Baddbmm Linear
NativeBatchNorm CudnnBatchNorm MiopenBatchNorm Mean Sum
AvgPool2D AvgPool3D AdaptiveAvgPool2D AdaptiveAvgPool3D MkldnnAdaptiveAvgPool2D
UpsampleNearest2D UpsampleNearestExact2D UpsampleBilinear2D UpsampleBicubic2D
Cat Stack Split SplitWithSizes Unbind Select Slice Index IndexSelect Gather Diagonal
View UnsafeView ReshapeAlias Alias Permute Transpose T Expand Squeeze Unsqueeze Unfold
Clone Copy CopySlices ToCopy AsStrided Repeat Roll Flip PixelShuffle PixelUnshuffle
ConstantPadNd ReflectionPad2D ReplicationPad2D
AccumulateGrad
"""
LINEAR = frozenset(_LINEAR.split())
"""Operations that are linear in the one input that depends on the picture: their gradient is their rule."""

_PRODUCTS = frozenset({"Mul", "Convolution", "Mm", "Bmm", "Dot", "Mv", "Linear"})


_LINEAR_IN_PLACE = frozenset({"add", "sub", "neg", "mul", "div", "copy", "zero", "fill"})


def require_rules(ends: Iterable[Tensor], method: str, hidden: set[str], more: frozenset[str] = frozenset()) -> None:
    """Raise ModelError if a tensor of `ends` came through an operation that is neither linear, a rule's, nor in `more`.

    hidden: what `Rules` saw that the graph does not tell. more: names of operations whose gradient is their rule.
    """
    for name in sorted(hidden - _LINEAR_IN_PLACE):
        raise ModelError(f"{method} has no rule for {name!r} in place on a part of a tensor; use integrated_gradients")
    for node in nodes(ends):
        if is_own(node):
            continue
        name = operation(node)
        if name not in LINEAR | more:
            raise ModelError(f"{method} has no rule for {name!r}, which this network uses; use integrated_gradients")
        if getattr(node, "_saved_training", False):
            raise ModelError(
                f"{method} has no rule for a batch or instance norm by the input's own statistics, which this network "
                "uses; use integrated_gradients"
            )
        sources = [before for before, _ in node.next_functions]
        both = {"Div": sources[1:2], "Addmm": sources[1:3], "Baddbmm": sources[1:3]}
        needed = 1 if name == "Div" else 2
        if (name in _PRODUCTS or name in both) and sum(
            source is not None for source in both.get(name, sources[:2])
        ) >= needed:
            raise ModelError(
                f"{method} has no rule for {name!r} of two tensors that both depend on the input; "
                "use integrated_gradients"
            )
