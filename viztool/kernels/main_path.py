"""Which kernel makes the channels of a layer: the last one on its main path."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from viztool.hooks.naming import named_layers, unwrap
from viztool.hooks.watch import watch
from viztool.inspect.one_forward import untouched
from viztool.inspect.trace import tensors_among
from viztool.models.model import Model
from viztool.tensors.tree import tensors_in

KERNELS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
"""The layers whose weights are kernels, one for each channel that they put out."""

_GATES = {"sigmoid", "sigmoid_", "hardsigmoid", "softmax"}
_MIXES = {
    *(f"conv{kind}{rank}d" for kind in ("", "_transpose") for rank in (1, 2, 3)),
    *("linear", "bilinear", "matmul", "__matmul__", "mm", "bmm", "einsum", "scaled_dot_product_attention"),
    "multi_head_attention_forward",
}
"""Functions that make new channels from old ones, by weights that need not be a layer's."""


class _Reached(BaseException):
    """The layer has run; what comes after it may not even take pictures of this size."""


class _Path(NamedTuple):
    """How a tensor came about. Of two that meet, the greater one is the main path.

    is_main: it is no gate, whose values only weigh those of another. depth: kernels on the way. reach: taps of the
    last. kernel: the last one's name, "" if it is no layer's.
    """

    is_main: bool = True
    depth: int = 0
    reach: int = 0
    kernel: str = ""


class _Paths(TorchFunctionMode):
    """Follows the main path of every tensor of a forward inside the block."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self._known: MutableMapping[Tensor, _Path] = WeakIdKeyDictionary()
        self._known[x] = _Path()

    def of(self, output: Any) -> _Path | None:
        """That of the first tensor of an output."""
        first = next(tensors_in(output), None)
        return None if first is None else self._known.get(first)

    def pass_kernel(self, name: str, layer: nn.Module, before: _Path | None, output: Any) -> None:
        """The output is what this kernel makes of something that came about in that way."""
        if before is not None and isinstance(output, Tensor):
            assert isinstance(layer.weight, Tensor)
            self._known[output] = _Path(True, before.depth + 1, layer.weight[0, 0].numel(), name)

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        given = tensors_among((*args, *(kwargs or {}).values()))
        operands = [tensor for tensor in given if tensor in self._known]
        if operands:
            # What is broadcast, such as the gate of squeeze-and-excitation, weighs and makes nothing.
            largest = max(tensor.numel() for tensor in operands)
            path = max((self._known[each] for each in operands if each.numel() == largest), key=lambda path: path[:3])
            name = getattr(func, "__name__", "")
            if name in _GATES:
                path = path._replace(is_main=False)
            elif name in _MIXES:
                path = _Path(True, path.depth + 1)
            for tensor in tensors_among([args[0] if name == "__setitem__" else result]):
                self._known[tensor] = path
        return result


def maker_of(model: Model, layer: str, width: int, size: tuple[int, int] | None = None) -> str | None:
    """The name of the kernel that makes the channels of a layer: the last on the longest path through it.

    Where paths meet, as those of a residual block do, the one with more kernels counts; of paths as long as each
    other the one with the larger kernel, then the first operand's. None if no kernel inside the layer makes its
    channels one for one. width: the layer's channels. size: (h, w) of the pictures; by default the model's own.
    """
    net = unwrap(model.net)
    layers = named_layers(net)
    frames = () if model.input.frames is None else (model.input.frames,)
    x = torch.zeros(1, model.channels, *frames, *(size or model.size), device=model.device, dtype=model.dtype)
    before: list[_Path | None] = []
    found: list[_Path | None] = []
    with suppress(_Reached), untouched(net, x) as own, _Paths(own) as paths:

        def enter(_name: str, _layer: nn.Module, args: Any, kwargs: Any) -> None:
            before.append(paths.of((args, kwargs)))

        def leave(name: str, module: nn.Module, output: Any) -> None:
            if isinstance(module, KERNELS):
                paths.pass_kernel(name, module, before.pop(), output)
            if module is layers[layer]:
                found.append(paths.of(output))
                raise _Reached

        kernels = {name: module for name, module in layers.items() if isinstance(module, KERNELS)}
        with watch(kernels, enter=enter), watch({**kernels, layer: layers[layer]}, exit=leave):
            net(own)
    path = found[0] if found else None
    if path is None or not path.is_main or not _is_inside(path.kernel, layer):
        return None
    return path.kernel if _width(layers[path.kernel]) == width else None


def _is_inside(name: str, layer: str) -> bool:
    return bool(name) and (not layer or name == layer or name.startswith(f"{layer}."))


def _width(kernel: nn.Module) -> int:
    return kernel.out_features if isinstance(kernel, nn.Linear) else int(kernel.out_channels)  # type: ignore[arg-type]
