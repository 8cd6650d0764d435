"""What is kept of an output, and what the network goes on with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log
from typing import Any

import torch
from torch import Tensor, nn

from viztool.errors import LayerError
from viztool.hooks.activations import Call, GradientAt
from viztool.hooks.layout import distortion, map_size, to_maps
from viztool.hooks.tree import map_tensors, tensors_in

_IN_PROPORTION = log(2)
"""Heads and windows of attention, too, are axes beside axes; a network's stages keep the picture's shape."""


@dataclass(eq=False)
class Keeper:
    """Keeps outputs as `capture` was asked to; its fields are those of `capture`."""

    grads: bool
    copy: bool
    detach: bool
    maps: bool
    reduce: Callable[[Tensor], Any] | None
    device: torch.device | str | None
    dtype: torch.dtype | None

    _batch: int = 0
    _input_size: tuple[int, int] | None = None

    def note_input(self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A forward of the network begins: its first picture tells maps from other outputs."""
        picture = next((tensor for tensor in tensors_in((args, kwargs)) if tensor.dim() >= 4), None)
        if picture is not None:
            self._batch = picture.shape[0]
            self._input_size = (picture.shape[-2], picture.shape[-1])

    def stage_size(self, output: Any) -> tuple[int, int] | None:
        """(H, W) of the output's maps, or None if it holds none in the proportions of the picture."""
        if not isinstance(output, Tensor) or self._input_size is None:
            return None
        size = map_size(tuple(output.shape), self._batch, self._input_size)
        return size if size is not None and distortion(size, self._input_size) < _IN_PROPORTION else None

    def keep(self, layer: str, output: Any, inputs: set[int]) -> tuple[Call, Any]:
        """The record of a call, and what takes the place of its output (None: nothing does).

        inputs: the memory (`storage_of`) of the tensors that the layer was given.
        """
        onward: list[Tensor] = []
        shared: list[Tensor] = []
        places: list[GradientAt] = []

        def keep_tensor(tensor: Tensor) -> Any:
            place = GradientAt()
            kept, goes_on = self._keep_tensor(layer, tensor, inputs, place, shared)
            onward.append(goes_on)
            places.append(place)
            return kept

        kept = map_tensors(keep_tensor, output)
        gradients = _in_place_of_tensors(places, output) if self.grads else None
        call = Call(kept, gradients, tuple(shared))
        untouched = all(mine is theirs for mine, theirs in zip(onward, tensors_in(output), strict=True))
        return call, None if untouched else _in_place_of_tensors(onward, output)

    def _keep_tensor(
        self, layer: str, tensor: Tensor, inputs: set[int], place: GradientAt, shared: list[Tensor]
    ) -> tuple[Any, Tensor]:
        if self.grads and not torch.is_grad_enabled():
            raise LayerError("grads=True needs autograd; run the network outside torch.no_grad() and inference_mode()")
        if not self.copy and tensor.is_inference():
            raise LayerError("copy=False cannot be checked in torch.inference_mode(); use torch.no_grad() or copy=True")
        differentiable = tensor.is_floating_point() or tensor.is_complex()
        in_graph = torch.is_grad_enabled() and differentiable and (tensor.requires_grad or self.grads)
        if not in_graph or (self.detach and not self.grads):
            # Nothing is asked of the graph: keep a copy, and let the network go on undisturbed.
            return self._derive(layer, tensor.detach(), tensor, shared), tensor

        own = tensor if self._may_keep(tensor, inputs) else tensor.clone()
        if not own.requires_grad:
            own.requires_grad_()
        if self.grads:
            own.register_hook(self._gradient_hook(place))
        # A leaf must not be changed in place, and the next layer may want to.
        goes_on = own.clone() if self.copy or own.is_leaf else own
        return self._derive(layer, own.detach() if self.detach else own, own if self.detach else None, shared), goes_on

    def _may_keep(self, tensor: Tensor, inputs: set[int]) -> bool:
        """Whether the tensor itself may be kept in the graph, while the network goes on with a clone.

        Not if the network holds its memory under another name too, and could change it there: what a
        layer was given and hands on (Identity, Flatten, an in-place ReLU), a view, a parameter.
        """
        if not self.copy:
            return tensor.requires_grad
        elsewhere = tensor.is_leaf or tensor._is_view() or storage_of(tensor) in inputs
        return tensor.requires_grad and not elsewhere

    def _derive(self, layer: str, source: Tensor, copied_from: Tensor | None, shared: list[Tensor]) -> Any:
        """`source` in the form that was asked for, in memory of its own if it is `copied_from` the network's.

        Where it is not copied, its memory goes on the list of what the network can overwrite.
        """
        kept: Any = self._as_maps(layer, source) if self.maps else source
        if self.reduce is not None:
            kept = self.reduce(kept)
        if not isinstance(kept, Tensor):
            return kept
        kept = self._moved(kept)
        if storage_of(kept) != storage_of(source):
            return kept
        if self.copy and copied_from is not None:
            return kept.clone()
        shared.append(kept)
        return kept

    def _gradient_hook(self, place: GradientAt) -> Callable[[Tensor], None]:
        def hook(gradient: Tensor) -> None:
            kept = self._as_maps("", gradient) if self.maps else gradient
            place.gradient = self._moved(kept)

        return hook

    def _as_maps(self, layer: str, tensor: Tensor) -> Tensor:
        if self._input_size is None:
            raise LayerError("maps=True needs a picture as the network's input; none was given to the network itself")
        maps = to_maps(tensor, self._batch, self._input_size)
        if maps is None:
            raise LayerError(f"layer {layer!r} puts out {tuple(tensor.shape)}, which holds no maps (N, C, H, W)")
        return maps

    def _moved(self, tensor: Tensor) -> Tensor:
        return tensor.to(device=self.device, dtype=self.dtype if tensor.is_floating_point() else None)


def storage_of(tensor: Tensor) -> int:
    """What tells the memory of one tensor from that of another; views have that of their base."""
    if tensor.layout is not torch.strided:
        return id(tensor)
    return int(tensor.untyped_storage()._cdata)


def _in_place_of_tensors(items: list[Any], output: Any) -> Any:
    remaining = iter(items)
    return map_tensors(lambda _: next(remaining), output)
