"""The layouts of a network's layers: followed once for each size of input, and remembered."""

from __future__ import annotations

import weakref
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from viztool.hooks.layouts import Layouts
from viztool.hooks.naming import named_layers, unwrap
from viztool.hooks.watch import watch
from viztool.tensors.tree import tensors_in

_remembered: weakref.WeakKeyDictionary[nn.Module, dict[Hashable, Layouts]] = weakref.WeakKeyDictionary()


@contextmanager
def following(net: nn.Module, inputs: Any, until: Iterable[str] = ()) -> Iterator[Layouts]:
    """The layouts of the layers in the forward of the network on `inputs` inside the block.

    Where they are remembered, of inputs of this size, nothing is watched: the network holds the same layers.
    Open it after other hooks that put something in the place of an output.

    until: layers after which the forward may end; if it does, only theirs are remembered, for who asks for the same.
    """
    named = named_layers(net)
    sizes = tuple(tuple(tensor.shape[1:]) for tensor in tensors_in(inputs))
    whole = sizes, hash(tuple((name, type(layer)) for name, layer in named.items()))
    some = *whole, frozenset(until)
    known = _remembered.setdefault(net, {})
    if whole in known or some in known:
        yield known[whole if whole in known else some]
        return
    layouts = Layouts(named)
    with watch(named, enter=layouts.enter, exit=layouts.exit):
        yield layouts
    layouts.settle()
    if layouts.whole:
        known[whole] = layouts
    elif until and layouts.have(until):
        known[some] = layouts


def layouts_of(net: nn.Module | object, x: Tensor) -> Layouts:
    """The layouts of the layers for inputs like `x`: as they are remembered, or of a forward on `x`.

    On all of it: a network may hold other inputs that belong to these images.
    """
    root = unwrap(net)
    with torch.no_grad(), following(root, x) as layouts:
        if not layouts.whole:
            root(x.clone())
    return layouts
