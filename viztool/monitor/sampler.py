"""One sampled step: hooks on the layers while it lasts, reductions inside them, and one copy to the host at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from viztool.hooks.watch import watch
from viztool.monitor.layers import Layouts, Watched, watched_layers
from viztool.monitor.layers_by_name import CALL, layer_of
from viztool.monitor.measured import How, joined
from viztool.monitor.measures import (
    attention_of,
    bounded_by_rank,
    bounds_of,
    correlations,
    covariances,
    decided,
    directions,
    drift_of_norm,
    effective_rank,
    moments,
    not_finite,
    sample_of,
    saturated,
    spread,
    squares,
    tops,
)
from viztool.monitor.pool import Pool
from viztool.tensors.tree import tensors_in

_MOST_CALLS = 8  # of a layer in one forward, by name; later ones are added to the last

_MOST_GIVEN = 4  # tensors that a layer is given, of which it is looked whether they depend on the image

_SETTLED = 50  # batches for running statistics that are means of all, or hardly move; for others 3 / momentum
_SLOWEST = 0.003  # of the momentums that are meant

Guard = Callable[[Callable[[], None]], None]


@dataclass(eq=False)
class Seen:
    """What was measured of one layer (or of one of its calls). tensors: on their device, with how they add up."""

    tensors: dict[str, tuple[Tensor, How]] = field(default_factory=dict)
    counts: dict[str, float] = field(default_factory=dict)
    """What is known without looking at any number, and is added up."""
    settled_after: float = 0.0
    """Batches after which the running statistics of a normalisation layer have settled."""

    def add(self, name: str, value: Tensor, how: How) -> None:
        known = self.tensors.get(name)
        if known is not None and how == "moments":
            value = torch.stack(joined(known[0], value))
        elif known is not None and how != "last" and known[0].shape == value.shape:
            value = known[0] + value if how == "sum" else torch.maximum(known[0], value)
        self.tensors[name] = (value, how)

    def count(self, name: str, number: float) -> None:
        self.counts[name] = self.counts.get(name, 0) + number


class Sampler:
    """Watches the forwards of one optimizer step. guard: runs what it is given, and lets no error out.

    A forward counts that builds a graph: a validation between two steps does not. What activation checkpointing runs
    again in the backward is not counted either. begins: called before each forward that counts; True if nothing that
    was seen so far belongs to the step that is to come.
    """

    def __init__(self, root: nn.Module, guard: Guard, begins: Callable[[], bool]) -> None:
        self._root = root
        self._guard = guard
        self._begins = begins
        self._stack: ExitStack | None = None
        self._inner = ExitStack()
        self._layouts = Layouts()
        self._pauses = False
        self._together, self._given_together = Pool(), Pool()
        self.forget()

    def forget(self) -> None:
        """Let go of everything that was seen."""
        self.seen: dict[str, Seen] = {}
        self.network = Seen()
        """Of the input; under "images" and "forwards", how many there were."""
        self._layers: dict[str, Watched] = {}
        self._depth = 0
        self._builds = False
        self._calls: dict[str, int] = {}
        self._entered: list[float] = []

    @property
    def open(self) -> bool:
        return self._stack is not None

    def attach(self) -> None:
        """From now on forwards are measured."""
        self.detach()
        self.forget()
        with ExitStack() as stack:
            stack.enter_context(watch({"": self._root}, enter=self._enter, exit=self._exit, fails=True))
            self._inner = stack.enter_context(ExitStack())
            self._watch_layers()
            self._stack = stack.pop_all()

    def _watch_layers(self) -> None:
        """Hook into the layers that there are: some networks are changed while they train, even within a step."""
        found = [layer for layer in watched_layers(self._root) if layer.runs]
        if [(each.name, each.module) for each in self._layers.values()] == [(each.name, each.module) for each in found]:
            return
        self._inner.close()
        self._layers = {layer.name: layer for layer in found}
        modules = {layer.name: layer.module for layer in found if layer.module is not self._root}
        self._inner.enter_context(watch(modules, enter=self._before, exit=self._after))

    def detach(self) -> None:
        """No hook is left; what was seen stays."""
        stack, self._stack = self._stack, None
        if stack is not None:
            stack.close()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Forwards inside are not measured."""
        self._pauses = True
        try:
            yield
        finally:
            self._pauses = False

    def _enter(self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._depth += 1
        if self._depth > 1 or self._pauses:
            return
        self._builds = _trains()
        self._calls = {}
        if self._builds:
            self._guard(lambda: self._begin(args, kwargs))

    def _begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._watch_layers()
        if self._begins():
            self.seen, self.network = {}, Seen()
        self.network.count("forwards", 1)
        given = next((x for x in tensors_in((args, kwargs)) if x.ndim > 0), None)
        if given is None:
            return
        self.network.count("images", given.shape[0])
        x = given.detach()
        with torch.no_grad():
            if x.is_floating_point():
                self.network.add("input", moments(x), "moments")
            if x.ndim > 1 and x.shape[0] > 1 and not x.is_complex():
                self.network.add("input spread", spread(sample_of(self._layouts.as_units(module_of_none, x))), "sum")

    def _exit(self, name: str, module: nn.Module, output: Any) -> None:
        self._depth = max(0, self._depth - 1)
        if "" in self._layers and self._depth == 0:  # a network that is one layer
            self._after(name, module, output)

    def _counts(self) -> bool:
        if self._pauses:
            return False
        return self._builds if self._depth else _trains()

    def _before(self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._counts():
            self._guard(lambda: self._given(self._key(name, ahead=True), module, args, kwargs))

    @torch.no_grad()
    def _given(self, key: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        everything = [x.detach() for x in tensors_in((args, kwargs)) if x.is_nested or x.numel() > 0]
        tensors = [x for x in everything if not x.is_nested and x.layout == torch.strided and not x.is_complex()]
        seen = self.seen.setdefault(key, Seen())
        if len(tensors) == len(everything):
            seen.count("given", 1)
            self._look_whether_given_varies(seen, module, tensors)
        floating = [x for x in tensors if x.is_floating_point()]
        if len(floating) == 1 and bounded_by_rank(module):
            x = sample_of(self._layouts.as_units(module, floating[0]))
            if x.shape[0] > 1:
                matrix, _ = self._given_together.add(key, covariances(x), x.shape[0])
                seen.add("rank given", directions(matrix).reshape(1), "last")
        given = next(iter(floating), None)
        if given is None:
            return
        if isinstance(module, nn.modules.batchnorm._NormBase) and isinstance(module.running_mean, Tensor):
            x = self._layouts.as_units(module, given.detach())
            if x.shape[0] * x.shape[2] > 1:
                seen.add("drift of norm", drift_of_norm(sample_of(x), module), "sum")
                seen.count("drift of norm", 1)
                if module.num_batches_tracked is not None:
                    seen.add("batches", module.num_batches_tracked, "last")
                momentum = module.momentum or 0.0
                seen.settled_after = 3 / momentum if momentum > _SLOWEST else _SETTLED
        elif isinstance(module, nn.MultiheadAttention):
            query = args[0] if args else kwargs["query"]
            key_ = args[1] if len(args) > 1 else kwargs.get("key", query)
            attention = attention_of(module, query.detach(), key_.detach())
            if attention is not None:
                seen.add("saturated", decided(attention), "sum")

    def _look_whether_given_varies(self, seen: Seen, module: nn.Module, tensors: list[Tensor]) -> None:
        for x in tensors[:_MOST_GIVEN]:
            # A vector, as of classes, is one number for each image.
            x = sample_of(x.reshape(-1, 1, 1) if x.ndim < 2 else self._layouts.as_units(module, x))
            if x.shape[0] > 1:
                across, size = spread(x)
                seen.add("spread given", (across / size.clamp_min(1e-30)).reshape(1), "sum")

    def _key(self, name: str, *, ahead: bool = False) -> str:
        if self._depth == 0:
            return name
        number = self._calls.get(name, 0) + 1
        if not ahead:
            self._calls[name] = number
        return name if number == 1 else f"{name}{CALL}{min(number, _MOST_CALLS)}"

    def _after(self, name: str, module: nn.Module, output: Any) -> None:
        if self._counts():
            self._guard(lambda: self._put_out(self._key(name), module, output))

    @torch.no_grad()
    def _put_out(self, key: str, module: nn.Module, output: Any) -> None:
        made = next((x for x in tensors_in(output) if x.is_floating_point() and not x.is_nested), None)
        if made is None or made.numel() == 0 or made.layout != torch.strided:
            return
        # The order is that in which layers end: the entry that was made when it began goes to the end.
        seen = self.seen[key] = self.seen.pop(key, Seen()) if not self._met(key) else self.seen[key]
        x = made.detach()
        units = self._layouts.as_units(module, x)
        seen.add("moments", moments(x), "moments")
        seen.count("values", x.numel())
        seen.count("images", units.shape[0])
        layer = self._layers[layer_of(key)]
        if layer.floored:
            seen.add("tops", tops(units), "max")
        some = sample_of(units)
        if some.shape[0] > 1:
            seen.add("spread", spread(some), "sum")
            if some.shape[1] > 1:
                matrix, images = self._together.add(key, correlations(some), some.shape[0])
                seen.add("rank", effective_rank(matrix, images), "last")
        bounds = bounds_of(module)
        if bounds is not None:
            seen.add("saturated", saturated(some, *bounds), "sum")
        elif isinstance(module, nn.Softmax) and x.shape[-1] > 2:
            seen.add("saturated", decided(some if module.dim == 1 else x[:4]), "sum")
        if made.requires_grad:
            made.register_hook(lambda gradient: self._guard(lambda: self._derived(seen, gradient)))

    def _met(self, key: str) -> bool:
        return key in self.seen and "values" in self.seen[key].counts

    @torch.no_grad()
    def _derived(self, seen: Seen, gradient: Tensor) -> None:
        if gradient.layout != torch.strided:
            return
        g = gradient.detach()
        size = squares(g)
        seen.add("gradient", torch.stack([not_finite(g, size), size]), "sum")


def _trains() -> bool:
    """Whether a forward builds a graph of numbers: not while it is traced, nor inside vmap or torch.func's grad."""
    plain = torch._C._get_tracing_state() is None and torch._C._functorch.peek_interpreter_stack() is None
    return torch.is_grad_enabled() and plain


module_of_none = nn.Identity()
"""In place of the layer that made the network's input."""
