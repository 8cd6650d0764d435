"""Capture what layers put out during a forward pass, and trust every tensor of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from viztool.errors import LayerError
from viztool.hooks.activations import Activations
from viztool.hooks.keeper import Keeper, versions_of
from viztool.hooks.layouts import Layouts
from viztool.hooks.naming import leaf_names, named_layers, unwrap
from viztool.hooks.select import STAGES, Patterns, as_list, select
from viztool.hooks.stages import StageTracker, repeated_blocks
from viztool.hooks.turns import Running, ending_forwards
from viztool.hooks.watch import watch
from viztool.tensors.size import Size
from viztool.tensors.tree import tensors_in


class StopForward(BaseException):
    """Ends a forward. Not an Exception, so that a network's own `except Exception` cannot swallow it."""

    def __init__(self, owner: Activations) -> None:
        self.owner = owner


@contextmanager
def capture(
    net: nn.Module | object,
    layers: Patterns | None = None,
    *,
    grads: bool = False,
    stop: bool = False,
    copy: bool = True,
    detach: bool = False,
    maps: bool = False,
    reduce: Callable[[Tensor], Any] | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Iterator[Activations]:
    """Capture the outputs of layers in every forward of `net` inside the `with` block.

    >>> with capture(net, "layer4.*.conv2", grads=True) as acts:  # doctest: +SKIP
    ...     net(x)[:, 281].sum().backward()
    >>> acts["layer4.0.conv2"], acts.grad("layer4.0.conv2")  # doctest: +SKIP

    net: a network or a viztool `Model`; compiled and data-parallel ones are unwrapped.
    layers: patterns or modules (see `viztool.hooks.select`), or `stages`: the last layer at each resolution. By
    default every layer that holds no other and that runs. A layer of your own that is called "stages" is
    reached by `re:stages`.

    What is captured is the layer's own output, whatever a later layer does to it in place. When grad is
    on it stays in the autograd graph: a loss can be built on it, and gradients of the network's own output
    reach it (`torch.autograd.grad(score, acts[layer])`).

    grads: keep the gradient at each output, for `acts.grad(layer)`. Also works on a frozen network. It is what your
        own backward brings: call `viztool.tensors.graph.mend_norms(loss)` before it where torch derives a norm wrongly.
    stop: end the forward, and with it the `with` block, as soon as every selected layer has run once, in
        whatever order they run. A layer that is called several times then shows the calls that came
        before that moment (at least the first); `acts.stopped_at` names the layer it ended after.
    copy: if False, share memory with the network, and raise on reading what it has overwritten since.
    detach: let go of the graph.
    maps: tokens (N, T, D) and channels-last outputs become (N, C, H, W); see `viztool.tensors.layout`.
    reduce: applied to each tensor inside the hook, before anything is kept.
    device, dtype: of what is kept; dtype leaves integers alone.

    `maps`, `reduce`, `device` and `dtype` make a new tensor from the output: what the network goes on
    with is never touched, and `acts.grad` is at the output itself (in its `maps` form).

    Raises LayerError for a pattern that picks nothing, and at the end for a selected layer that never
    ran. Calls by other threads are not captured. Hooks are gone after the block, whatever happened.
    """
    root = unwrap(net)
    named = named_layers(root)
    patterns = [] if layers is None else as_list(layers)
    stages = STAGES in patterns
    if stop and (layers is None or stages):
        raise LayerError(
            "stop=True needs layers by name: which ones these are is known only when the forward has ended"
        )
    by_name = [pattern for pattern in patterns if pattern != STAGES]
    required = [] if layers is None or (stages and not by_name) else select(named, by_name)
    chosen = leaf_names(named) if layers is None else required

    acts = Activations(root)
    layouts = Layouts(named)
    keeper = Keeper(grads, copy, detach, maps, reduce, device, dtype, layouts)
    recorder = _Recorder(acts, keeper, _aliases(named, chosen), set(required) if stop else None)
    forward = Running(root)
    with ExitStack() as stack:
        stack.enter_context(ending_forwards())
        stack.enter_context(
            watch({"": root}, enter=lambda *_: forward.begin(), exit=lambda *_: forward.end(), fails=True)
        )
        if stages:
            picker = _StagePicker(acts, keeper, recorder, named, set(required))
            stack.enter_context(watch(named, enter=picker.enter, exit=picker.exit))
        else:
            if maps:  # first, so that it sees what a layer puts out, and not what takes its place
                stack.enter_context(watch(named, enter=layouts.enter, exit=layouts.exit))
            stack.enter_context(watch({name: named[name] for name in chosen}, enter=recorder.enter, exit=recorder.exit))
        try:
            yield acts
        except StopForward as signal:
            if signal.owner is not acts:
                raise
    _require_fired(acts, required, [str(pattern) for pattern in patterns])


def _aliases(named: dict[str, nn.Module], chosen: list[str]) -> dict[int, list[str]]:
    """The chosen names of each module: a module may be registered under several."""
    names: dict[int, list[str]] = {}
    for name in chosen:
        names.setdefault(id(named[name]), []).append(name)
    return names


def _require_fired(acts: Activations, required: list[str], patterns: list[str]) -> None:
    if not acts.layers:
        what = f" of {_listed(required or patterns)}" if patterns else ""
        why = "no layer puts out maps of a picture" if patterns == [STAGES] else "not these layers"
        raise LayerError(f"nothing was captured{what}: the network did not run inside the block, or {why}")
    missing = [name for name in required if name not in acts]
    if missing:
        raise LayerError(f"selected, but never ran: {_listed(missing)}; leave out what this forward does not use")


def _listed(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names[:5]) + (" …" if len(names) > 5 else "")


_HANDS_ON = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Identity, nn.Dropout, nn.Dropout2d)


class _Recorder:
    """Adds each call to the activations, and stops the forward when all that is awaited has run."""

    def __init__(
        self, acts: Activations, keeper: Keeper, aliases: dict[int, list[str]], awaited: set[str] | None
    ) -> None:
        self._acts = acts
        self._keeper = keeper
        self._aliases = aliases
        self._awaited = awaited
        self._inputs: dict[str, dict[int, int]] = {}

    def enter(self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if torch.is_grad_enabled():
            self._inputs[name] = versions_of(tensors_in((args, kwargs)))

    def exit(self, name: str, module: nn.Module, output: Any) -> Any:
        call, onward = self._keeper.keep(name, output, self._inputs.pop(name, {}))
        if onward is not None:
            self._keeper.layouts.replace(output, onward)
        aliases = self._aliases.get(id(module), [name])
        for alias in aliases:
            self._acts.add(alias, call)
        if self._awaited is not None:
            self._awaited.difference_update(aliases)
            if not self._awaited:
                self._acts.stopped_at = name
                raise StopForward(self._acts)
        return onward


class _StagePicker:
    """Records every layer that may be the last at its resolution, until one whole forward has shown which are.

    Of a network without any stage in the picture's proportions (strides that differ by axis), or whose layers all run
    several times, it takes those that would be stages otherwise.
    """

    def __init__(
        self, acts: Activations, keeper: Keeper, recorder: _Recorder, named: dict[str, nn.Module], also: set[str]
    ):
        self._acts = acts
        self._layouts = keeper.layouts
        self._recorder = recorder
        self._blocks = repeated_blocks(named)
        self._also = also
        self._trackers: tuple[StageTracker, StageTracker] | None = None
        self._stages: set[str] | None = None

    def enter(self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._layouts.enter(name, module, args, kwargs)
        if name == "" and self._stages is None:
            self._trackers = StageTracker(self._blocks), StageTracker(self._blocks, repeats=True)
        for tracker in self._trackers or ():
            tracker.enter(name)
        self._recorder.enter(name, module, args, kwargs)

    def exit(self, name: str, module: nn.Module, output: Any) -> Any:
        self._layouts.exit(name, module, output)  # first: of what the layer puts out, not of what takes its place
        if self._trackers is None:
            kept = self._also | (self._stages or set())
        else:
            proper, others = self._trackers
            size, stretched, channels = self._form(name, module, output)
            sequence = type(module) is nn.Sequential
            proper.exit(name, size, channels=channels, sequence=sequence)
            others.exit(name, stretched, channels=channels, sequence=sequence)
            kept = self._also | proper.alive | others.alive
            if name == "":
                self._stages, self._trackers = set(proper.stages() or others.stages()), None
                kept = self._also | self._stages
            for layer in self._acts.layers:
                if layer not in kept:
                    self._acts.drop(layer)
        return self._recorder.exit(name, module, output) if name in kept else None

    def _form(self, name: str, module: nn.Module, output: Any) -> tuple[Size | None, Size | None, int]:
        """(H, W) of the layer's maps, of maps in any proportions, or None; and how many channels they have."""
        # The network's own output is no stage of it, and these hand on the one before them.
        if name == "" or isinstance(module, _HANDS_ON):
            return None, None, 0
        stretched = self._layouts.stage_size(name, output, stretched=True)
        if stretched is None:
            return None, None, 0
        first = next(tensors_in(output))
        return self._layouts.stage_size(name, output), stretched, first[0].numel() // prod(stretched)
