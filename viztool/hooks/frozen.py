"""Derive a network by its input or a layer, without a graph for its parameters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from viztool.hooks.turns import changing, surely


@contextmanager
def frozen(net: nn.Module) -> Iterator[None]:
    """No parameter asks for a gradient inside: a graph for them would keep every input of every layer.

    Threads take turns (`viztool.hooks.turns`).
    """
    with changing(net):
        asking = [parameter for parameter in net.parameters() if parameter.requires_grad]

        def restore() -> None:
            for parameter in asking:
                parameter.requires_grad_(True)

        try:
            for parameter in asking:
                parameter.requires_grad_(False)
            yield
        finally:
            surely(restore)
