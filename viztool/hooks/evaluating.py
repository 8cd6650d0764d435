"""Look at a network in evaluation mode, and give it back in the mode it was in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from viztool.hooks.turns import changing, surely


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """Every layer in evaluation mode inside the block, and afterwards each in its own former mode.

    In training mode a look would change batch-norm statistics and draw dropout masks. The flags are
    set one by one: `train()` may be overridden, and some layers may be frozen in another mode.
    Threads take turns (`viztool.hooks.turns`).
    """
    with changing(net):
        modes = [(module, module.training) for module in net.modules()]

        def restore() -> None:
            for module, training in modes:
                if module.training is not training:  # to set it takes ten times as long as to ask
                    module.training = training

        try:
            for module, training in modes:
                if training:
                    module.training = False
            yield
        finally:
            surely(restore)
