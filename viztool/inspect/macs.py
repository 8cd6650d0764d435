"""Count multiply-adds while a forward runs."""

from __future__ import annotations

from types import TracebackType

from torch.utils.flop_counter import FlopCounterMode


class MacCounter:
    """Counts the multiply-adds of every forward inside the block: of convolutions, matrix products and attention.

    Additions of biases, norms, activations, pooling and resizing are not counted, as is the custom. One
    multiply-add is two of the operations that `torch.utils.flop_counter` counts. Attention inside
    `nn.MultiheadAttention` is seen only where its fused path is not taken: with gradients on, or while a torch
    function mode (`FieldTracer`) is active.
    """

    def __init__(self) -> None:
        self._operations = FlopCounterMode(display=False)

    def __enter__(self) -> MacCounter:
        self._operations.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._operations.__exit__(kind, error, trace)

    @property
    def total(self) -> int:
        """Multiply-adds so far."""
        return self._operations.get_total_flops() // 2
