"""What a capture holds: each layer's outputs, call by call, and the gradients at them."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from viztool.errors import LayerError
from viztool.hooks.naming import named_layers
from viztool.hooks.select import Pattern, name_of, nearest
from viztool.tensors.tree import map_tensors, tensors_in

NOT_KEPT = object()
"""In place of gradients that nobody asked for; None is the form of those of a layer that puts out None."""


@dataclass(eq=False)
class GradientAt:
    """The place of one tensor's gradient, filled when a backward pass arrives there."""

    gradient: Tensor | None = None


@dataclass(eq=False)
class Call:
    """One call of one layer. `gradients` has the form of the output, a GradientAt for each tensor."""

    output: Any
    gradients: Any = NOT_KEPT
    shared: tuple[Tensor, ...] = ()
    """What the network can still overwrite, as it shares memory with it."""
    refused: str = ""
    """Why there is no output to read."""

    def __post_init__(self) -> None:
        self._versions = self._current_versions()

    def overwritten(self) -> bool:
        return self._versions != self._current_versions()

    def _current_versions(self) -> tuple[int, ...]:
        # Every in-place operation moves the version counter of its tensor and of all views of it.
        return tuple(tensor._version for tensor in self.shared)


class Activations:
    """The outputs of captured layers: `acts["layer4"]`, in the order in which the layers ran.

    `acts.layers` are the names that have fired, in execution order (a layer ends after those inside it).
    A layer of the network can be read by the module, too: `acts[net.layer4]`.
    Reading raises LayerError where the tensor is not what the layer put out.
    """

    def __init__(self, net: nn.Module) -> None:
        self._net = weakref.ref(net)
        self._calls: dict[str, list[Call]] = {}
        self.stopped_at: str | None = None
        """The layer after which `stop=True` ended the forward: later calls, of any layer, did not run."""

    @property
    def layers(self) -> list[str]:
        return list(self._calls)

    def __getitem__(self, layer: Pattern) -> Any:
        """The output of the layer's last call."""
        name = self._name(layer)
        return self._read(name, self._of(name)[-1])

    def calls(self, layer: Pattern) -> list[Any]:
        """The outputs of every call of the layer, in order."""
        name = self._name(layer)
        return [self._read(name, call) for call in self._of(name)]

    def grad(self, layer: Pattern, call: int = -1) -> Any:
        """The gradient at the output of one call of the layer (the last), from the latest backward pass.

        It has the form of the output; in a tuple or dict, None stands where no gradient arrived.
        Raises LayerError if none did.
        """
        name = self._name(layer)
        calls = self._of(name)
        if not -len(calls) <= call < len(calls):
            raise LayerError(f"layer {name!r} ran {len(calls)} times in this capture; there is no call {call}")
        if calls[call].refused:
            raise LayerError(calls[call].refused)
        places = calls[call].gradients
        if places is NOT_KEPT:
            raise LayerError(f"no gradients are kept for layer {name!r}; capture it with grads=True")
        gradients: list[Tensor | None] = []

        def read(place: GradientAt) -> Tensor | None:
            gradients.append(place.gradient)
            return place.gradient

        form = map_tensors(read, places, GradientAt)
        if all(gradient is None for gradient in gradients):
            raise LayerError(f"no gradient has reached layer {name!r}; call backward() on something that depends on it")
        return form

    def add(self, layer: str, call: Call) -> None:
        self._calls.setdefault(layer, []).append(call)

    def drop(self, layer: str) -> None:
        del self._calls[layer]

    def __contains__(self, layer: object) -> bool:
        return (self._name(layer) if isinstance(layer, nn.Module) else layer) in self._calls

    def __iter__(self) -> Iterator[str]:
        return iter(self._calls)

    def __len__(self) -> int:
        return len(self._calls)

    def __repr__(self) -> str:
        shapes = {
            layer: ["nested" if tensor.is_nested else tuple(tensor.shape) for tensor in tensors_in(calls[-1].output)]
            for layer, calls in self._calls.items()
        }
        return f"Activations({shapes})"

    def _name(self, layer: Pattern) -> str:
        if isinstance(layer, str):
            return layer
        net = self._net()
        layers = {} if net is None else named_layers(net)
        captured = {name: layers[name] for name in self._calls if name in layers}
        return name_of(captured if any(layer is module for module in captured.values()) else layers, layer)

    def _of(self, layer: str) -> list[Call]:
        if layer not in self._calls:
            close = nearest(layer, self._calls) or list(self._calls)[:3]
            hint = f"captured: {', '.join(close)}" if close else "nothing has been captured yet"
            raise LayerError(f"layer {layer!r} is not in this capture; {hint}")
        return self._calls[layer]

    @staticmethod
    def _read(layer: str, call: Call) -> Any:
        if call.refused:
            raise LayerError(call.refused)
        if call.overwritten():
            raise LayerError(
                f"the output of layer {layer!r} was overwritten in place after it was captured; "
                "capture it with copy=True and detach=True, or clone it before you change it"
            )
        return call.output
