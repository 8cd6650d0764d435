"""Run only what comes after a layer, for changed activations of it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from viztool.errors import LayerError
from viztool.hooks.naming import named_layers, unwrap
from viztool.hooks.select import Pattern, select
from viztool.hooks.turns import changing, running, surely
from viztool.hooks.watch import watch
from viztool.tensors.tree import map_tensors, tensors_in

Finished = list[tuple[nn.Module, Any]]
"""Calls of layers that have ended, in order, with what they put out."""


class Replay:
    """The rest of a network behind one layer.

    >>> rest = Replay(net, x, "layer4")  # doctest: +SKIP
    >>> rest(rest.activations) == rest.output  # bit for bit  # doctest: +SKIP

    One forward records what every layer that ends before this one puts out. A replay runs the network
    again with these layers giving back what is recorded, so that only what stands between them and what
    comes after is computed. Layers whose modules never finished before (the containers that the layer is in)
    run as they are: any network replays, not only sequences.

    net: a network or a viztool `Model`, run without grad and in the mode that it is in; it is left as it
    was. inputs: its input, or a tuple of several, N images. layer: an exact name, a pattern for one layer, or a
    module; of one that runs several times the last call is replaced. Not for a layer whose output is not one tensor.

    activations: what the layer put out. output: what the network did.
    """

    activations: Tensor
    output: Any

    def __init__(self, net: nn.Module | object, inputs: Any, layer: Pattern) -> None:
        self._net = unwrap(net)
        named = named_layers(self._net)
        chosen = select(named, layer)
        if len(chosen) > 1:
            raise LayerError(f"{layer!r} picks {len(chosen)} layers, {chosen[0]!r} and others; a replay is of one")
        self._target = named[chosen[0]]
        # Copies, here and for each forward: the caller may change them, and the network in place.
        self._inputs = map_tensors(Tensor.clone, inputs if isinstance(inputs, tuple) else (inputs,))
        self._batch = next((len(tensor) for tensor in tensors_in(self._inputs) if tensor.dim()), 0)
        self._copies = False
        recorder = _Recorder(self._target)
        with torch.no_grad(), running(self._net), watch(named, enter=recorder.enter, exit=recorder.exit):
            self.output = self._net(*map_tensors(Tensor.clone, self._inputs))
        if recorder.before is None:
            raise LayerError(f"layer {chosen[0]!r} did not run; a replay needs one that does")
        if not isinstance(recorder.output, Tensor):
            raise LayerError(f"layer {chosen[0]!r} puts out {type(recorder.output).__name__}, not one tensor")
        self.activations = recorder.output
        self._before = recorder.before

    def __call__(self, activations: Tensor) -> Any:
        """The network's output if the layer had put out these activations.

        activations: the form of `self.activations`, or k times as many images: k whole batches one after the
        other. Gradients flow to the activations, and to parameters that come after them, if grad is on.
        """
        times, left = divmod(len(activations), len(self.activations))
        if left or not times or activations.shape[1:] != self.activations.shape[1:]:
            raise LayerError(
                f"activations of {tuple(activations.shape)} do not stand for those of "
                f"{tuple(self.activations.shape)}; only the number of images may be a multiple"
            )
        if self._copies:
            return self._run(activations, times)
        try:
            return self._run(activations, times)
        except RuntimeError as error:
            if times == 1 or "single memory location" not in str(error):
                raise
            # A layer of the rest works in place on what was recorded, which stands for several images at once.
            self._copies = True
            return self._run(activations, times)

    def _run(self, activations: Tensor, times: int) -> Any:
        queues: dict[nn.Module, deque[Any]] = {}
        for module, output in self._before:
            queues.setdefault(module, deque()).append(output)
        queues.setdefault(self._target, deque()).append(activations)

        def give(recorded: Any) -> Any:
            return (
                recorded if recorded is activations else map_tensors(lambda one: self._repeated(one, times), recorded)
            )

        with _answering(self._net, queues, give):
            return self._net(*map_tensors(lambda one: self._repeated(one, times), self._inputs))

    def _repeated(self, recorded: Tensor, times: int) -> Tensor:
        """The recorded tensor for so many batches, not to be overwritten by what comes after."""
        if times == 1 or recorded.dim() == 0 or len(recorded) != self._batch:
            return recorded.clone()
        if self._batch == 1 and not self._copies:
            return recorded.expand(times, *recorded.shape[1:])
        return recorded.repeat(times, *(1,) * (recorded.dim() - 1))


class _Recorder:
    """Knows, when the layer ends, which calls have ended before it and are not inside one another."""

    def __init__(self, target: nn.Module) -> None:
        self._target = target
        self._open: list[Finished] = [[]]
        self.before: Finished | None = None
        self.output: Any = None

    def enter(self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._open.append([])

    def exit(self, name: str, module: nn.Module, output: Any) -> None:
        self._open.pop()  # what ended inside is part of this call
        # A copy: the next layer may work in place.
        kept = map_tensors(Tensor.clone, output)
        if module is self._target:
            self.before = [call for frame in self._open for call in frame]
            self.output = kept
        self._open[-1].append((module, kept))


@contextmanager
def _answering(net: nn.Module, queues: dict[nn.Module, deque[Any]], give: Callable[[Any], Any]) -> Iterator[None]:
    """Each module gives what is in its queue instead of running, until that is empty."""
    owner = threading.get_ident()

    def answer(module: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
        queue = queues[module]

        def instead(*args: Any, **kwargs: Any) -> Any:
            if queue and threading.get_ident() == owner:
                return give(queue.popleft())
            return forward(*args, **kwargs)

        return instead

    with changing(net):
        # On the instance: another forward that was set there before comes back afterwards.
        before = [(module, module.__dict__.get("forward")) for module in queues]

        def restore() -> None:
            for module, forward in before:
                if forward is None:
                    module.__dict__.pop("forward", None)
                else:
                    module.__dict__["forward"] = forward

        try:
            for module in queues:
                module.__dict__["forward"] = answer(module, module.forward)
            yield
        finally:
            surely(restore)
