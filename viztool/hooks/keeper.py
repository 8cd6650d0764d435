"""What is kept of an output, and what the network goes on with."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor

from viztool.errors import LayerError
from viztool.hooks.activations import NOT_KEPT, Call, GradientAt
from viztool.hooks.layouts import Layouts, Picture
from viztool.tensors.layout import Layout, to_maps
from viztool.tensors.tree import UncopyableError, map_tensors, tensors_in

Array = npt.NDArray[Any]

_HELD = (Tensor, np.ndarray)

_REFUSED = (
    "layer {!r} puts out {}, which cannot be copied, and what it holds may have changed since; "
    "capture the layers that are inside it"
)


_TRANSFORMED = (
    "layer {!r} ran inside a transform of torch.func (vmap, jvp, grad), and its tensors ended with that; "
    "capture a forward outside of it"
)


@dataclass(eq=False)
class Keeper:
    """Keeps outputs as `capture` was asked to; its fields are those of `capture`, and what tells maps from others."""

    grads: bool
    copy: bool
    detach: bool
    maps: bool
    reduce: Callable[[Tensor], Any] | None
    device: torch.device | str | None
    dtype: torch.dtype | None

    layouts: Layouts

    def keep(self, layer: str, output: Any, inputs: dict[int, int]) -> tuple[Call, Any]:
        """The record of a call, and what takes the place of its output (None: nothing does).

        inputs: the tensors that the layer was given, as `versions_of` told them before it ran.
        """
        if any(map(is_functorch_wrapped_tensor, tensors_in(output))):
            return Call(None, refused=_TRANSFORMED.format(layer)), None
        onward: list[Tensor] = []
        disturbed = False
        shared: list[Tensor] = []
        places: list[GradientAt] = []

        def keep_part(tensor: Tensor | Array) -> Any:
            nonlocal disturbed
            if isinstance(tensor, np.ndarray):
                return tensor.copy()
            place = GradientAt()
            kept, goes_on = self._keep_tensor(layer, tensor, inputs, place, shared)
            disturbed = disturbed or goes_on is not tensor
            onward.append(goes_on)
            places.append(place)
            return kept

        try:
            kept = map_tensors(keep_part, output, _HELD)
        except UncopyableError as error:
            return Call(None, refused=_REFUSED.format(layer, error)), None
        gradients = _in_place_of_tensors(places, output) if self.grads else NOT_KEPT
        call = Call(kept, gradients, tuple(shared))
        return call, _in_place_of_tensors(onward, output) if disturbed else None

    def _keep_tensor(
        self, layer: str, tensor: Tensor, inputs: dict[int, int], place: GradientAt, shared: list[Tensor]
    ) -> tuple[Any, Tensor]:
        if self.grads and not torch.is_grad_enabled():
            raise LayerError("grads=True needs autograd; run the network outside torch.no_grad() and inference_mode()")
        if not self.copy and tensor.is_inference():
            raise LayerError("copy=False cannot be checked in torch.inference_mode(); use torch.no_grad() or copy=True")
        differentiable = tensor.is_floating_point() or tensor.is_complex()
        wanted = self.grads or (tensor.requires_grad and not self.detach)
        layout = self.layouts.of_tensor(tensor) if self.maps else None
        if not (torch.is_grad_enabled() and differentiable and wanted):
            # Nothing is asked of the graph: keep a copy, and let the network go on undisturbed.
            return self._derive(layer, tensor.detach(), layout, True, shared), tensor

        own, goes_on = self._fork(tensor, inputs)
        if self.grads:
            own.register_hook(self._gradient_hook(place, layout))
        exposed = own is tensor or not self.copy
        return self._derive(layer, own.detach() if self.detach else own, layout, exposed, shared), goes_on

    def _fork(self, tensor: Tensor, inputs: dict[int, int]) -> tuple[Tensor, Tensor]:
        """What is kept of a tensor in the graph, and what the network goes on with, made from it."""
        if not tensor.is_leaf:
            if not self.copy:
                return tensor, tensor
            if inputs.get(storage_of(tensor), tensor._version) != tensor._version:
                # Worked in place on its input, so the network may go on to use it by the input's name (a skip
                # around an in-place ReLU): only the tensor itself gets the gradient of both ways.
                return tensor, tensor.clone()
        elif tensor.requires_grad or tensor.is_inference():
            # A parameter or an input, which the next layer must not change in place, or may not in autograd.
            own = tensor.clone().requires_grad_()
            return own, own.clone()
        own = tensor.clone() if self.copy else tensor.detach()
        if tensor.is_nested:  # which no function of one's own can be given
            return own.requires_grad_(), own.clone()
        return own.requires_grad_(), _SameMemory.apply(own, tensor.detach())

    def _derive(self, layer: str, source: Tensor, layout: Layout | None, exposed: bool, shared: list[Tensor]) -> Any:
        """`source` in the form that was asked for.

        exposed: whether the network can write to the memory of `source`. What is kept of that is copied or, if
        that is not wanted or would leave the graph, goes on the list `shared`.
        """
        form: Any = _as_maps(source, self.layouts.picture, layout, layer) if self.maps else source
        if self.reduce is not None:
            form = self.reduce(form)

        def settle(part: Any) -> Any:
            if isinstance(part, np.ndarray):
                return part.copy()  # an array may share memory with a tensor, and has no version counter
            part = self._moved(part)
            if storage_of(part) != storage_of(source):
                return part
            # A reduced view is always copied, as it would keep all of the source in memory.
            if self.copy and (self.reduce is not None or (exposed and not source.requires_grad)):
                return part.clone()
            if exposed:
                shared.append(part)
            return part

        return map_tensors(settle, form, _HELD)

    def _gradient_hook(self, place: GradientAt, layout: Layout | None) -> Callable[[Tensor], None]:
        # By the time of the backward another forward may have begun, on other pictures.
        picture = self.layouts.picture
        # A gradient made with create_graph=True holds the graph, which holds this hook: no cycle must come of it.
        weak_place = weakref.ref(place)

        def hook(gradient: Tensor) -> None:
            place = weak_place()
            if place is not None:
                place.gradient = self._moved(_as_maps(gradient, picture, layout) if self.maps else gradient)

        return hook

    def _moved(self, tensor: Tensor) -> Tensor:
        return tensor.to(device=self.device, dtype=self.dtype if tensor.is_floating_point() else None)


class _SameMemory(torch.autograd.Function):
    """The network's tensor, in its own memory, as if it were made from the one that is kept.

    With a clone in its place, the network would go another way wherever it changes in place a tensor that
    it holds under two names, as after Identity, Flatten or Dropout in evaluation mode. (What is lost is the
    gradient of such a change by the other name.)
    """

    @staticmethod
    def forward(ctx: Any, kept: Tensor, tensor: Tensor) -> Tensor:
        return tensor.detach()

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        return tangents[0].view_as(tangents[0])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def _as_maps(tensor: Tensor, picture: Picture | None, layout: Layout | None, layer: str = "") -> Tensor:
    if picture is None:
        raise LayerError("maps=True needs a picture as the network's input; none was given to the network itself")
    maps = to_maps(tensor, picture.batch, picture.size, layout)
    if maps is None:
        raise LayerError(f"layer {layer!r} puts out {tuple(tensor.shape)}, which holds no maps (N, C, H, W)")
    return maps


def versions_of(tensors: Iterable[Tensor]) -> dict[int, int]:
    """The version counter of each tensor's memory (`storage_of`): an in-place operation moves it."""
    return {storage_of(tensor): tensor._version for tensor in tensors if not tensor.is_inference()}


def storage_of(tensor: Tensor) -> int:
    """What tells the memory of one tensor from that of another; views have that of their base."""
    if tensor.layout is not torch.strided or is_functorch_wrapped_tensor(tensor):
        return id(tensor)
    return int(tensor.untyped_storage()._cdata)


def _in_place_of_tensors(items: list[Any], output: Any) -> Any:
    remaining = iter(items)
    return map_tensors(lambda _: next(remaining), output)
