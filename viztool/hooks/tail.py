"""One forward without grad up to a layer and with grad after it, and backwards to that layer alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from viztool.errors import LayerError, UnrelatedError
from viztool.hooks.capture import capture
from viztool.hooks.frozen import frozen
from viztool.hooks.layout_memory import following
from viztool.hooks.naming import named_layers, unwrap
from viztool.hooks.select import Patterns, exactly, select
from viztool.hooks.watch import watch
from viztool.tensors.graph import gradients
from viztool.tensors.tree import map_tensors, tensors_in


class TailPass:
    """What one forward of `net` put out at some layers, and the gradients of any score at them.

    >>> run = TailPass(net, x, "layer4")  # doctest: +SKIP
    >>> run.gradients(run.output[:, 281])["layer4"]  # doctest: +SKIP

    The least that a gradient at a layer costs: no graph is built before the first of the layers, none for the
    parameters, and a backward ends at the layers. Works on frozen networks, under an outer `no_grad` or
    `inference_mode`, in half precision, and behind in-place operations. The network runs in the mode that
    it is in, and is left as it was.

    net: a network or a viztool `Model`. inputs: its input, or a tuple of several. layers: patterns as in
    `capture`. Of a layer that runs several times the last call counts, of one that puts out several
    tensors the first.

    output: the network's, in the autograd graph. activations: by layer, in the order in which they ran, detached.

    Raises LayerError for a layer that is unknown, did not run, or puts out nothing to derive by.
    """

    output: Any
    activations: dict[str, Tensor]

    def __init__(self, net: nn.Module | object, inputs: Any, layers: Patterns) -> None:
        root = unwrap(net)
        named = named_layers(root)
        chosen = select(named, layers)
        # A tensor that was made in inference mode can be in no graph: leave the mode, and copy the input. The network
        # may change it in place, besides.
        with torch.inference_mode(False), torch.no_grad(), frozen(root):
            given = map_tensors(Tensor.clone, inputs if isinstance(inputs, tuple) else (inputs,))
            with (
                watch({name: named[name] for name in chosen}, exit=_grad_from_here),
                capture(root, exactly(chosen), grads=True) as acts,
                following(root, given) as self._layouts,
            ):
                self.output = root(*given)
        self._own = {name: _first_real(name, acts[name]) for name in acts}
        self.activations = {name: as_real(own.detach()) for name, own in self._own.items()}

    def gradients(self, scores: Tensor, *, last: bool = True) -> dict[str, Tensor]:
        """The gradient of each image's score at each layer, in the form of the activations.

        scores: one an image, made from `output`. Their sum is derived: each image gets the gradient of its own.
        last: let go of the graph; pass False to ask for another score afterwards. Raises UnrelatedError, a
        LayerError, if the scores do not depend on a layer.
        """
        own = list(self._own.values())
        for name, tensor in self._own.items():
            require_gradient(name, tensor)
        found: tuple[Tensor | None, ...] = (None,) * len(own)
        if scores.requires_grad:
            found = gradients([scores], own, [torch.ones_like(scores)], keep=not last, unused=True)
        by_name: dict[str, Tensor] = {}
        for name, gradient in zip(self._own, found, strict=True):
            if gradient is None:
                raise UnrelatedError(f"the score does not depend on layer {name!r}; choose one that it is made from")
            by_name[name] = gradient
        return by_name

    def as_maps(self, layer: str, tensor: Tensor) -> Tensor:
        """An activation of the layer, or a gradient at it, as (N, C, h, w). Raises LayerError if it holds no maps."""
        return self._layouts.maps(layer, tensor)


def _grad_from_here(name: str, module: nn.Module, output: Any) -> None:
    """Runs before the hook that captures, whose clone is then the start of the graph."""
    torch.set_grad_enabled(True)


def _first_real(layer: str, output: Any) -> Tensor:
    first = next(tensors_in(output), None)
    if first is None or not (first.requires_grad or first.is_quantized):
        raise LayerError(f"layer {layer!r} puts out no tensor of real numbers; choose another layer")
    return first


def as_real(tensor: Tensor) -> Tensor:
    """The numbers that a quantized tensor stands for; any other as it is."""
    return tensor.dequantize() if tensor.is_quantized else tensor


def require_gradient(layer: str, tensor: Tensor) -> None:
    """Raise LayerError for what a quantized layer puts out: that has no gradient."""
    if tensor.is_quantized:
        raise LayerError(
            f"layer {layer!r} is quantized and has no gradient; take a method without "
            "(eigencam, scorecam, ablationcam) or the network as it was before"
        )
