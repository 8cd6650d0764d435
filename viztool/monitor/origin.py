"""Where the first number that is none came from, if that was between two samples."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from viztool.hooks.watch import watch
from viztool.monitor.layers import Watched, watched_layers
from viztool.monitor.sample import Sample
from viztool.tensors.tree import map_tensors, tensors_in

Blamed = tuple[str, float, str]
"""The layer, how many values, and where they are: output, gradient, or words."""

UNKNOWN: Blamed = ("", 0.0, "unknown")
"""That it came between samples is all that is known: of the loss, or of one batch, nothing is left to look at."""


class Origin:
    """Looks, before each step that is not sampled, at two small gradients: that of the first and of the last layer.

    If one of them is no number, this step will spoil all weights, and afterwards nothing tells where it came from. So
    the weights are looked at before it; if they are whole, and all gradients are not, they are kept, and the next
    forward is run once more with them, without a graph, random numbers and buffers put back: the first layer whose
    output is no number is where it came from. If that forward is whole, it came from the loss, from a backward or from
    the batch that is gone: then no layer is named. On a GPU, where to look would make every step wait, it is left out.
    """

    def __init__(self, root: nn.Module) -> None:
        self._root = root
        self._layers: dict[str, Watched] = {}
        self._looked: list[nn.Parameter] = []
        self._order: list[str] = []
        self._done = False
        self._good: dict[str, Tensor] | None = None
        self._stack: ExitStack | None = None

    @property
    def suspicious(self) -> bool:
        """Whether the next forward is to be looked at."""
        return self._good is not None and self._stack is None

    def learn(self, sample: Sample) -> None:
        """The order in which layers run; and whether it has been seen already where it comes from."""
        numbers = sample.layers.values()
        self._done = self._done or any(each.get("not finite") or each.get("gradient not finite") for each in numbers)
        ran = [name for name, known in sample.layers.items() if "mean" in known]
        self._layers = {layer.name: layer for layer in watched_layers(self._root)}
        self._order = [name for name in ran if name in self._layers]
        trained = [self._layers[name] for name in self._order if _asked(self._layers[name])]
        ends = [trained[0], trained[-1]] if trained else []
        small = [min(_asked(layer), key=lambda each: each.numel()) for layer in ends]
        self._looked = [each for each in small if each.device.type == "cpu"]

    @torch.no_grad()
    def look(self) -> Blamed | None:
        """The layer to blame, once, if a gradient is no number."""
        gradients = [each.grad for each in self._looked if each.grad is not None]
        if self._done or all(bool(torch.isfinite(each.sum())) for each in gradients if not each.is_sparse):
            return None
        self._done = True
        self._layers = {layer.name: layer for layer in watched_layers(self._root)}
        self._order = [*filter(self._layers.__contains__, self._order)]
        for name in self._order:
            bad = sum(_count(each) for each in self._layers[name].parameters)
            if bad:
                return name, float(bad), "in its weights"
        trained = [name for name in self._order if _asked(self._layers[name])]
        broken = [
            name for name in trained if any(p.grad is not None and _count(p.grad) for p in _asked(self._layers[name]))
        ]
        if broken and broken[-1] != trained[-1]:
            count = sum(_count(p.grad) for p in _asked(self._layers[broken[-1]]) if p.grad is not None)
            return broken[-1], float(count), "in the gradient of its weights, the last that has any"
        self._good = {name: p.detach().clone() for name, p in self._root.named_parameters()}
        return UNKNOWN

    def watch_next(self, found: Callable[[Blamed], None], around: Callable[[], AbstractContextManager[None]]) -> None:
        """Run the next forward once more with the weights that were whole, and say where it breaks.

        around: entered meanwhile; nobody else is to count this forward.
        """

        def enter(name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            with around():
                self._again(args, kwargs, found)

        with ExitStack() as stack:
            stack.enter_context(watch({"": self._root}, enter=enter))
            self._stack = stack.pop_all()

    def close(self) -> None:
        """No hook is left."""
        stack, self._stack, self._good = self._stack, None, None
        if stack is not None:
            stack.close()

    def _again(self, args: tuple[Any, ...], kwargs: dict[str, Any], found: Callable[[Blamed], None]) -> None:
        good = self._good
        self.close()
        if good is None or not torch.is_grad_enabled():
            return
        try:
            found(self._replayed(good, args, kwargs))
        except Exception:  # a network may not run twice; then where it came from is not known
            found(UNKNOWN)

    def _replayed(self, good: dict[str, Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Blamed:
        bad: list[Blamed] = []

        def look(name: str, module: nn.Module, output: Any) -> None:
            count = sum(_count(x) for x in tensors_in(output) if x.is_floating_point())
            if count and not bad:
                bad.append((name, float(count), "output"))

        buffers = {name: each.detach().clone() for name, each in self._root.named_buffers()}
        layers = {name: layer.module for name, layer in self._layers.items() if layer.runs and name}
        with torch.no_grad(), torch.random.fork_rng(devices=[]), _other_dice(), watch(layers, exit=look):
            given = map_tensors(Tensor.clone, (args, kwargs))
            torch.func.functional_call(self._root, {**good, **buffers}, given[0], given[1])
        return bad[0] if bad else UNKNOWN


@contextmanager
def _other_dice() -> Iterator[None]:
    """Python's and NumPy's random numbers go on from here as if nothing had drawn any inside."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def _asked(layer: Watched) -> list[nn.Parameter]:
    return [each for each in layer.parameters if each.requires_grad]


def _count(x: Tensor) -> int:
    return int((~torch.isfinite(x)).sum())
