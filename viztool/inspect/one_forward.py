"""Run a network once, to look at it, and leave no trace in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from viztool.errors import ModelError
from viztool.hooks.evaluating import evaluating
from viztool.tensors.tree import map_tensors, tensors_in


@contextmanager
def untouched(net: nn.Module, x: Any) -> Iterator[Any]:
    """In evaluation mode and without gradients; gives a copy of `x` for the network to run on.

    Afterwards modes, buffers and random number generators are as they were, and so is `x`, which a network
    may overwrite. Raises ModelError if a layer has yet to find out its shape: a forward would fix it.
    """
    tensors = list(chain(net.parameters(), net.buffers()))
    if any(is_lazy(tensor) for tensor in tensors):
        raise ModelError("the network has lazy layers without a shape; run it once on an input, then look at it")
    places = {tensor.device for tensor in chain(tensors, tensors_in(x)) if tensor.device.type == "cuda"}
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=list(places)))
        stack.enter_context(torch.no_grad())
        stack.enter_context(evaluating(net))
        stack.enter_context(_same_buffers(net))
        yield map_tensors(Tensor.clone, x)


@contextmanager
def _same_buffers(net: nn.Module) -> Iterator[None]:
    named = [(module, dict(module._buffers)) for module in net.modules()]
    values = [(buffer, buffer.clone(), _version(buffer)) for buffer in net.buffers()]
    try:
        yield
    finally:
        for module, buffers in named:
            module._buffers.clear()
            module._buffers.update(buffers)
        for buffer, value, version in values:
            if _version(buffer) != version:
                buffer.copy_(value)


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version
