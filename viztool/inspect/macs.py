"""Count multiply-adds while a forward runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from math import prod
from types import TracebackType
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry


class MacCounter:
    """Counts the multiply-adds of every forward inside the block: of convolutions, matrix products and attention.

    Additions of biases, norms, activations, pooling and resizing are not counted, as is the custom. One
    multiply-add is two of the operations that `torch.utils.flop_counter` counts. Attention inside
    `nn.MultiheadAttention` is seen only where its fused path is not taken: with gradients on, or while a torch
    function mode (`FieldTracer`) is active.

    uncounted: the names of operations that multiply and add and have no formula here, one for each call.
    """

    def __init__(self) -> None:
        self._operations = FlopCounterMode(display=False)
        self._others = _Others()
        self._stack = ExitStack()

    def __enter__(self) -> MacCounter:
        # Inside the other one, which takes composed functions apart, it is given the parts.
        self._stack.enter_context(self._others)
        self._stack.enter_context(self._operations)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def total(self) -> int:
        """Multiply-adds so far."""
        return self._operations.get_total_flops() // 2 + self._others.total

    @property
    def uncounted(self) -> Sequence[str]:
        """So far, as in the class."""
        return self._others.uncounted


class _Others(TorchDispatchMode):
    """What torch's own counter has no formula for."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0
        self.uncounted: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket not in flop_registry:
            name = str(func._schema.name)
            formula = _FORMULAS.get(name)
            if formula is not None:
                self.total += formula(args, result)
            elif _multiplies(name):
                self.uncounted.append(name)
        return result


def _multiplies(name: str) -> bool:
    """Whether an operation is of the kind that is counted, by its name; of other libraries' all that is not known."""
    library, _, operation = name.partition("::")
    if operation in _HARMLESS or operation.startswith("_thnn_fused"):  # which gets products that are counted
        return False
    if library in ("aten", "prim", "prims", "quantized"):
        return _PRODUCTS.search(operation) is not None
    return True


_PRODUCTS = re.compile(
    r"(?<![a-z])(?:[a-z0-9]*mm|mv|[a-z]*dot|matmul|[a-z]*linear|conv\w*|rnn|lstm|gru|attention|fft|cdist|linalg)(?![a-z])"
    r"|transformer|cholesky|triangular_solve|_rnn_"
)
_HARMLESS = {
    *("_linalg_check_errors", "linalg_vector_norm"),
    *("nms", "roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool"),  # of torchvision; they resize
}

Formula = Callable[[Sequence[Any], Any], int]


def _packed(args: Sequence[Any], result: Tensor) -> int:
    """Quantised layers: every unit of the result is one product with a kernel."""
    return result.numel() * int(args[1].unpack()[0][0].numel())


def _recurrent(given: Tensor, weights: Sequence[Tensor]) -> int:
    """Each step of each sequence is multiplied by each matrix once."""
    return prod(given.shape[:-1]) * sum(weight.numel() for weight in weights if weight.dim() == 2)


def _bilinear(args: Sequence[Any], _result: Any) -> int:
    """X W first, (B, I) with (O, I, J), then that with the other input."""
    outputs, _, second = args[1].shape
    return len(args[0]) * int(args[1].numel() + outputs * second)


def _attention(args: Sequence[Any], _result: Any) -> int:
    """Each query with each key, and that with the values: (..., L, E), (..., S, E), (..., S, V)."""
    query, key, value = (each.shape for each in args[:3])
    return int(prod(query[:-1]) * key[-2] * (query[-1] + value[-1]))


_FORMULAS: dict[str, Formula] = {
    "aten::_scaled_dot_product_flash_attention_for_cpu": _attention,  # not known to torch's own before 2.15
    "aten::mv": lambda args, _: args[0].numel(),
    "aten::addmv": lambda args, _: args[1].numel(),
    **dict.fromkeys(["aten::dot", "aten::vdot"], lambda args, _: args[0].numel()),
    "aten::addbmm": lambda args, _: prod(args[1].shape) * args[2].shape[-1],
    "aten::_int_mm": lambda args, _: prod(args[0].shape) * args[1].shape[-1],
    "aten::_trilinear": _bilinear,
    "aten::mkldnn_rnn_layer": lambda args, _: _recurrent(args[0], args[1:3]),
    "aten::_cudnn_rnn": lambda args, _: _recurrent(args[0], args[1]),
    "aten::miopen_rnn": lambda args, _: _recurrent(args[0], args[1]),
    **dict.fromkeys(
        [
            *(f"quantized::linear{kind}" for kind in ("", "_relu", "_dynamic", "_relu_dynamic", "_dynamic_fp16")),
            *(f"quantized::conv{rank}d{kind}" for rank in (1, 2, 3) for kind in ("", "_relu", "_dynamic")),
        ],
        _packed,
    ),
    "torchvision::deform_conv2d": lambda args, result: result.numel() * args[1][0].numel(),
}
