"""What each layer of a network adds to a score by its bias, whether it has one by name or by what it computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from viztool.hooks.naming import is_leaf, layers_inside, named_layers
from viztool.hooks.watch import watch
from viztool.tensors.graph import mend_norms

_HOMOGENEOUS = (
    nn.ReLU,
    nn.LeakyReLU,
    nn.PReLU,
    nn.Identity,
    nn.Flatten,
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.AdaptiveAvgPool2d,
    nn.Dropout,
    nn.Dropout2d,
    nn.Upsample,
)
"""f(t x) = t f(x) for t > 0, in evaluation mode: no bias."""

_ROUNDING = 1e-5
"""Terms that are a smaller share of what they are the difference of come of rounding."""

Add = Callable[[str, Tensor], None]
Hook = Callable[[Tensor], None]


@contextmanager
def bias_terms(net: nn.Module, add: Add) -> Iterator[None]:
    """In a backward through a forward inside this block, call `add(name, ∂y/∂b ∘ b)` for each call of one with a bias.

    The terms have the form of what the layer puts out. b is the bias of a convolution or linear layer;
    β − γ μ / σ of a batch norm; and of any other layer what it puts out minus its derivative times its input, the
    constant of its linear approximation where it is: 6 of a saturated ReLU6. (Then the terms are (N,) if the
    layer's input has another shape than its output.)
    """
    layers = named_layers(net)
    constant = {name: bias for name, layer in layers.items() if (bias := _constant_bias(layer)) is not None}
    # A batch norm may hold its activation function: its own output is then what the first layer in it is given.
    inner = {
        id(next(layers_inside(layers[name]))[1]): bias for name, bias in constant.items() if not is_leaf(layers[name])
    }
    others = {name for name, layer in layers.items() if name not in constant and _may_have_a_bias(layer)}
    given: dict[str, Tensor] = {}

    def enter(name: str, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        single = args[0] if len(args) == 1 and not kwargs and isinstance(args[0], Tensor) else None
        if single is None or not single.requires_grad:
            return
        if id(layer) in inner:
            single.register_hook(_times(inner[id(layer)], partial(add, name)))
        elif name in others:
            given[name] = single.detach().clone()  # the layer may work in place

    def leave(name: str, layer: nn.Module, output: Any) -> None:
        if not isinstance(output, Tensor) or not output.requires_grad:
            return
        if name in constant and is_leaf(layer):
            output.register_hook(_times(constant[name], partial(add, name)))
        elif name in given:
            output.register_hook(_beyond_linear(layer, given.pop(name), partial(add, name)))

    watched = {
        name: layer for name, layer in layers.items() if name in constant or name in others or id(layer) in inner
    }
    with watch(watched, enter=enter, exit=leave):
        yield


def _times(bias: Tensor, add: Hook) -> Hook:
    return lambda gradient: add(gradient * bias)


def _beyond_linear(layer: nn.Module, given: Tensor, add: Hook) -> Hook:
    def hook(gradient: Tensor) -> None:
        with torch.enable_grad():
            start = given.requires_grad_()
            output = layer.forward(start.clone())  # past its hooks, and not in place
            mend_norms(output)
            (back,) = torch.autograd.grad(output, start, gradient)
        whole, linear = (gradient * output).detach().float(), (back * given).detach().float()
        if whole.shape != linear.shape:
            whole, linear = (each.reshape(len(each), -1).sum(1) for each in (whole, linear))
        terms = whole - linear
        if bool(terms.abs().amax() > _ROUNDING * whole.abs().amax()):
            add(terms)

    return hook


def _constant_bias(layer: nn.Module) -> Tensor | None:
    """The bias of a layer that is linear but for it, in a form that multiplies what the layer puts out."""
    if isinstance(layer, nn.Linear):
        return None if layer.bias is None else layer.bias.detach()
    if isinstance(layer, _ConvNd):
        return None if layer.bias is None else _by_channel(layer.bias.detach(), layer.weight.dim() - 2)
    if isinstance(layer, _BatchNorm) and layer.running_mean is not None and layer.running_var is not None:
        bias = -layer.running_mean / (layer.running_var + layer.eps).sqrt()
        if layer.weight is not None:
            bias = bias * layer.weight + (0 if layer.bias is None else layer.bias)
        return _by_channel(bias.detach(), _SIDES.get(_kind(layer), 2))
    return None


_SIDES = {"BatchNorm1d": 0, "BatchNorm3d": 3}


def _kind(layer: nn.Module) -> str:
    return next((cls.__name__ for cls in type(layer).__mro__ if cls.__name__ in _SIDES), "")


def _by_channel(bias: Tensor, sides: int) -> Tensor:
    return bias.view(-1, *(1,) * sides)


def _may_have_a_bias(layer: nn.Module) -> bool:
    return is_leaf(layer) and not isinstance(layer, (*_HOMOGENEOUS, nn.Linear, _ConvNd))
