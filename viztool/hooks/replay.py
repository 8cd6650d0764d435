"""Run only what comes after a layer, for changed activations of it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from viztool.errors import LayerError
from viztool.hooks.keeper import versions_of
from viztool.hooks.naming import named_layers, unwrap
from viztool.hooks.select import Pattern, select
from viztool.hooks.tail import as_real, require_gradient
from viztool.hooks.turns import changing, once, running, surely
from viztool.hooks.watch import watch
from viztool.tensors.compare import alike
from viztool.tensors.tree import UncopyableError, map_tensors, tensors_in

_TOLERANCE = 1e-4
"""Of an output, as a share of its largest value: how far a replay may be from the forward that it repeats."""


@dataclass(eq=False)
class _Call:
    """A call of a layer that has ended."""

    module: nn.Module
    output: Any
    """A copy, or _RUN where there can be none."""
    inside: list[_Call]
    """The calls that ended in it, where it wrote or told."""
    wrote: bool
    """Whether it worked in place on a tensor that it was given: who has that by another name may rely on it."""
    told: bool
    """Whether it left something in a container that it was given, or in an attribute: somebody may read it there."""


class _Run:
    """In place of an output: the layer is to run."""


_RUN = _Run()


class Replay:
    """The rest of a network behind one layer.

    >>> rest = Replay(net, x, "layer4")  # doctest: +SKIP
    >>> rest(rest.activations) == rest.output  # bit for bit  # doctest: +SKIP

    One forward records what every layer that ends before this one puts out. A replay runs the network
    again with these layers giving back what is recorded, so that only what stands between them and what
    comes after is computed. Layers whose modules never finished before (the containers that the layer is in)
    run as they are: any network replays, not only sequences. The first replay, of the recorded activations, must
    give the recorded output: where it does not, as layers say something to one another by other ways than their
    outputs (a dict that they all write to, an attribute), those that do run too; and if that is not enough, all do.

    net: a network or a viztool `Model`, run without grad and in the mode that it is in; it is left as it
    was. inputs: its input, or a tuple of several, N images. layer: an exact name, a pattern for one layer, or a
    module; of one that runs several times the last call is replaced. Not for a layer whose output is not one tensor.

    A network that goes through its images one by one calls the layer once for each of them, which no recorded call
    stands for: k batches then run one after the other, and their outputs are put together.

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
        self._overwrites = False
        recorder = _Recorder(self._target)
        with torch.no_grad(), running(self._net), watch(named, enter=recorder.enter, exit=recorder.exit):
            self.output = self._net(*map_tensors(Tensor.clone, self._inputs))
        if recorder.before is None:
            raise LayerError(f"layer {chosen[0]!r} did not run; a replay needs one that does")
        if not isinstance(recorder.output, Tensor):
            raise LayerError(f"layer {chosen[0]!r} puts out {type(recorder.output).__name__}, not one tensor")
        self._layer = chosen[0]
        self._recorded = recorder.output
        self.activations = as_real(recorder.output)
        self._answers = self._first_that_repeats(recorder)

    def _first_that_repeats(self, recorder: _Recorder) -> list[tuple[nn.Module, Any]]:
        """The answers, as few layers running as can be, with which a replay gives the recorded output."""
        assert recorder.before is not None
        # Where chance has a part, no replay repeats the forward; one in which all run is at least like it.
        every: list[tuple[nn.Module, Any]] = [(self._target, _RUN)] * (recorder.calls - 1)
        for carefully in (False, True):
            self._answers = list(_answers(recorder.before, carefully))
            if self._repeats():
                return self._answers
        return every

    def _repeats(self) -> bool:
        given, self._overwrites = self.activations.clone(), False
        before = versions_of([given])
        try:
            with torch.no_grad():
                found = list(tensors_in(self._run(given, 1)))
        except torch.OutOfMemoryError:
            raise
        except Exception:
            self._overwrites = True  # who knows
            return False
        # Where a layer works in place on the activations, each replay gets a copy: the caller's stay as they are.
        self._overwrites = given.is_inference() or given.is_quantized or versions_of([given]) != before
        expected = list(tensors_in(self.output))
        return len(found) == len(expected) and all(map(_alike, expected, found))

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
        if times > 1 and not self.at_once:
            return _joined([self._run(part, 1) for part in activations.split(len(self.activations))], self._batch)
        return self._so_often(activations, times)

    @once
    def at_once(self) -> bool:
        """Whether several batches run together, as one."""
        try:
            with torch.no_grad():
                self._so_often(torch.cat([self.activations] * 2), 2)
        except torch.OutOfMemoryError:
            raise
        except Exception:
            return False
        return not self._called_again

    def _so_often(self, activations: Tensor, times: int) -> Any:
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

    def _run(self, given: Tensor, times: int) -> Any:
        activations = self._quantized(given) if self._recorded.is_quantized else given
        queues: dict[nn.Module, deque[Any]] = {}
        for module, output in self._answers:
            queues.setdefault(module, deque()).append(output)
        queues.setdefault(self._target, deque()).append(activations)

        def give(recorded: Any) -> Any:
            if recorded is activations:
                return recorded.clone() if self._overwrites else recorded
            return map_tensors(lambda one: self._repeated(one, times), recorded)

        self._called_again = False

        def again(module: nn.Module) -> None:
            self._called_again |= module is self._target

        with _answering(self._net, queues, give, again):
            return self._net(*map_tensors(lambda one: self._repeated(one, times), self._inputs))

    def _quantized(self, activations: Tensor) -> Tensor:
        """In the form in which the layer put them out."""
        like = self._recorded
        if activations.is_quantized:
            return activations
        if activations.requires_grad or like.qscheme() != torch.per_tensor_affine:
            require_gradient(self._layer, like)
        return torch.quantize_per_tensor(activations, like.q_scale(), like.q_zero_point(), like.dtype)

    def _repeated(self, recorded: Tensor, times: int) -> Tensor:
        """The recorded tensor for so many batches, not to be overwritten by what comes after."""
        if times == 1 or recorded.dim() == 0 or len(recorded) != self._batch:
            return recorded.clone()
        if self._batch == 1 and not self._copies:
            return recorded.expand(times, *recorded.shape[1:])
        return recorded.repeat(times, *(1,) * (recorded.dim() - 1))


def _joined(outputs: list[Any], images: int) -> Any:
    """The outputs of several batches as one: rows below rows, and what is a list of the images behind one another."""
    first = outputs[0]
    if isinstance(first, list) and len(first) == images and not any(isinstance(each, Tensor) for each in first):
        return list(chain.from_iterable(outputs))
    others = [tensors_in(each) for each in outputs[1:]]
    return map_tensors(lambda one: torch.cat([one, *map(next, others)]) if one.dim() else one, first)


def _alike(expected: Tensor, found: Tensor) -> bool:
    if expected.is_floating_point() and expected.numel():
        return alike(expected.nan_to_num(), found.nan_to_num(), _TOLERANCE)
    return torch.equal(expected, found)


def _answers(calls: list[_Call], carefully: bool, all_run: bool = False) -> Iterator[tuple[nn.Module, Any]]:
    """What each call is to give back, in order. carefully: those that worked in place on what they were given run."""
    for call in calls:
        if all_run or call.told or call.output is _RUN or (carefully and call.wrote):
            yield call.module, _RUN
            yield from _answers(call.inside, carefully, all_run or call.told)
        else:
            yield call.module, call.output


class _Recorder:
    """Knows, when the layer ends, which calls have ended before it and are not inside one another."""

    def __init__(self, target: nn.Module) -> None:
        self._target = target
        self._open: list[tuple[list[_Call], _State | None]] = [([], None)]
        self.before: list[_Call] | None = None
        self.output: Any = None
        self.calls = 0
        """Of the layer, so far."""

    def enter(self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._open.append(([], _State(module, args, kwargs)))

    def exit(self, name: str, module: nn.Module, output: Any) -> None:
        inside, state = self._open.pop()
        while state is None or state.module is not module:  # a layer that raised, in a network that went on without it
            inside, state = self._open.pop()
        try:
            kept = map_tensors(Tensor.clone, output)  # the next layer may work in place
        except UncopyableError:
            kept = _RUN
        if module is self._target:
            self.calls += 1
            self.before = [call for frame, _ in self._open for call in frame]
            self.output = output if kept is _RUN else kept
        wrote, told = state.wrote(), state.told()
        # What ended inside is part of this call.
        parts = inside if wrote or told or kept is _RUN else []
        self._open[-1][0].append(_Call(module, kept, parts, wrote, told))


class _State:
    """What a layer was given, and what it holds, when it began."""

    def __init__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.module = module
        self._given = (*args, *kwargs.values())
        self._versions = versions_of(tensors_in(self._given))
        self._held = self._all_held()

    def wrote(self) -> bool:
        return versions_of(tensors_in(self._given)) != self._versions

    def told(self) -> bool:
        now = self._all_held()
        return len(now) != len(self._held) or any(a is not b for a, b in zip(now, self._held, strict=True))

    def _all_held(self) -> list[Any]:
        """Every object in what the layer was given and in its own attributes, one by one."""
        own = [value for name, value in vars(self.module).items() if name not in _OWN]
        return [part for each in (*self._given, *own) for part in (each, *_parts(each))]


_OWN = frozenset(vars(nn.Module()))
"""The attributes that every module has."""


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list | set | deque) else ()


@contextmanager
def _answering(
    net: nn.Module, queues: dict[nn.Module, deque[Any]], give: Callable[[Any], Any], again: Callable[[nn.Module], None]
) -> Iterator[None]:
    """Each module gives what is in its queue instead of running; of one that runs after that `again` is told."""
    owner = threading.get_ident()

    def answer(module: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
        queue = queues[module]

        def instead(*args: Any, **kwargs: Any) -> Any:
            if queue and threading.get_ident() == owner:
                answer = queue.popleft()
                if answer is not _RUN:
                    return give(answer)
            elif threading.get_ident() == owner:
                again(module)
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
