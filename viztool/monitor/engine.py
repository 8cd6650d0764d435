"""Samples of a training, taken by the optimizer's own step hooks; the loop knows nothing of it."""

from __future__ import annotations

import atexit
import sys
import time
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from viztool.errors import SettingError
from viztool.hooks.naming import unwrap
from viztool.monitor.assemble import NETWORK, NOTED, PARAMETERS, Parts, assembled
from viztool.monitor.layers import watched_layers
from viztool.monitor.origin import Blamed, Origin
from viztool.monitor.packing import over_processes, to_host
from viztool.monitor.sample import Sample
from viztool.monitor.sampler import Sampler, Seen
from viztool.monitor.updates import compared, gradient_norms, keep

_LATE = 100  # steps of the first optimizer after which one that has made none will make none

_RUNNING: weakref.WeakKeyDictionary[nn.Module, weakref.ReferenceType[Engine]] = weakref.WeakKeyDictionary()
"""Who watches a network: a cell that is run twice must not leave two."""


@atexit.register
def _close_all() -> None:
    """While all of torch is still there to be put back."""
    for engine in [reference() for reference in _RUNNING.values()]:
        if engine is not None:
            engine.close()


class Engine:
    """Takes a sample of every N-th step of the first optimizer, and gives it to `take`.

    A sample is of what happens between two steps: all forwards (of an accumulated step, of a closure), their backwards,
    and the step. Steps are counted from 0, as the first optimizer makes them: one that a GradScaler leaves out is none.
    Whatever fails in here is said once, and then nothing is done any more.
    """

    def __init__(
        self, net: nn.Module | object, optimizers: Sequence[Optimizer], every: int, take: Callable[[Sample], None]
    ) -> None:
        self.root = unwrap(net)
        self.layers = watched_layers(self.root)
        self.optimizers = list(optimizers)
        self.every = every
        self.step = 0
        self.failed: str = ""
        """Why it has switched itself off."""
        self.closed = False
        self._take = take
        self._begun = time.monotonic()
        self._sampler = Sampler(self.root, self._guarded, self._is_new_step)
        self._parts = Parts()
        self._noted: dict[str, Any] = {}
        self._refused: set[str] = set()
        self._distributed = _is_distributed(net)
        self.writes = writes(net)
        """Whether this process is the one that writes."""
        self._origin = None if self._distributed else Origin(self.root)
        self._made = dict.fromkeys(map(id, self.optimizers), 0)
        """How many steps each optimizer has made."""
        self._under_way: dict[int, int] = {}
        """How many steps of an optimizer are under way: one that its own step() calls is a part of it."""
        self._handles = [
            handle
            for optimizer in self.optimizers
            for handle in (
                optimizer.register_step_pre_hook(self._before_step),
                optimizer.register_step_post_hook(self._after_step),
            )
        ]
        before = _RUNNING.get(self.root)
        other = before() if before is not None else None
        if other is not None:
            other.close()
        _RUNNING[self.root] = weakref.ref(self)
        self._guarded(self._open)

    def note(self, values: Mapping[str, Any]) -> None:
        """Numbers of the user's, such as the loss: none is read from its device before the sample is."""
        for name, value in values.items():
            known = _as_number(value)
            if known is not None:
                self._noted[name] = known
            elif name not in self._refused:
                self._refused.add(name)
                tell(f"viztool.monitor: record({name}=...) takes a number, not {type(value).__name__}; it is left out")

    def close(self) -> None:
        """No hook is left, on the network and on the optimizers."""
        self.closed = True
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._sampler.detach()
        if self._origin is not None:
            self._origin.close()

    def restart(self, step: int) -> None:
        """Go on counting from here."""
        self.step = step
        self._sampler.detach()
        self._guarded(self._open)

    def _open(self) -> None:
        if self.step % self.every == 0:
            self._parts = Parts()
            self._sampler.attach()

    def _is_new_step(self) -> bool:
        """No gradient waits: what was seen so far was of a step that was left out, or of no step."""
        parameters = [each for layer in self.layers for each in layer.parameters]
        if all(each.grad is None for each in parameters):
            return True
        if self._sampler.network.counts.get("forwards") == 1:  # what waits is of the first micro-batch alone
            self._parts.first_gradients = gradient_norms(parameters)
        return False

    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        # What is left of a step that raised is told from one that is under way: its caller is still there.
        inside = self._under_way.get(id(optimizer), 0) if _calls_itself(sys._getframe(1)) else 0
        self._under_way[id(optimizer)] = inside + 1
        if inside:
            return

        def look() -> None:
            if self._sampler.open:
                mine = {id(each) for layer in self.layers for each in layer.parameters}
                own = [each for group in optimizer.param_groups for each in group["params"] if id(each) in mine]
                self._parts.before[id(optimizer)] = keep(own)
            elif self._origin is not None and optimizer is self.optimizers[0]:
                blamed = self._origin.look()
                if blamed is not None:
                    self._blame(blamed)

        self._guarded(look)

    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        inside = self._under_way.pop(id(optimizer), 1) - 1
        if inside:
            self._under_way[id(optimizer)] = inside
            return
        self._guarded(lambda: self._end_step(optimizer))
        if self.failed and self._distributed and not self.closed:
            self._guarded_last(optimizer)

    def _end_step(self, optimizer: Optimizer) -> None:
        parts = self._parts
        self._made[id(optimizer)] += 1
        if self._sampler.open:
            before = parts.before.pop(id(optimizer), [])
            parts.stepped.add(id(optimizer))
            parts.changes.update(compared(before))
            parts.gradients.update(gradient_norms(parameter for parameter, _ in before))
            found = getattr(optimizer, "found_inf", None)
            if isinstance(found, Tensor) and bool(found.any()):
                return  # a fused optimizer is called, and leaves the step out itself
        if optimizer is not self.optimizers[0]:
            return
        if self._sampler.open:
            self._finish()
        self.step += 1
        self._open()
        if self._origin is not None and self._origin.suspicious:
            self._origin.watch_next(self._blame, self._sampler.paused)

    def _finish(self) -> None:
        self._sampler.detach()
        seen = dict(self._sampler.seen)
        seen[NETWORK] = self._sampler.network
        seen[PARAMETERS] = self._parts.seen()
        seen[NOTED] = Seen({k: (v, "last") for k, v in self._noted.items() if isinstance(v, Tensor)})
        numbers = {k: v for k, v in self._noted.items() if not isinstance(v, Tensor)}
        self._noted = {}
        self.layers = watched_layers(self.root)
        measured = to_host(seen)
        del seen
        resting = self._resting()
        self._parts = Parts()
        self._sampler.forget()
        if self._distributed:
            together = over_processes(measured)
            if together is None:
                self.failed = "another process could not take its sample"
                self.close()
                return
            measured = together
        seconds = time.monotonic() - self._begun
        sample = assembled(measured, self.layers, self.optimizers, self.step, seconds, resting)
        sample.noted.update(numbers)
        if self._origin is not None:
            self._origin.learn(sample)
        self._take(sample)

    def _resting(self) -> set[int]:
        """The optimizers that make no step in this sample, and are no fault: they do so now and then, or may yet."""
        early = self._made[id(self.optimizers[0])] < _LATE
        idle = set(self._made) - self._parts.stepped
        return {each for each in idle if early or self._made[each]}

    def _blame(self, blamed: Blamed) -> None:
        self._take(Sample(self.step, time.monotonic() - self._begun, blamed=blamed))

    def _guarded(self, work: Callable[[], None]) -> None:
        """Do something of ours: it may fail, the training may not."""
        if self.failed or self.closed:
            return
        try:
            work()
        except Exception as error:
            self.failed = f"{type(error).__name__}: {error}"
            if not self._distributed:
                self.close()
            else:
                self._sampler.detach()
            tell(f"viztool.monitor has switched itself off, the training goes on ({self.failed})")

    def _guarded_last(self, optimizer: Optimizer) -> None:
        """The other processes wait for this one in their next sample: tell them that there will be none."""
        if optimizer is not self.optimizers[0]:
            return
        try:
            if self.step % self.every == 0:
                over_processes(None)
                self.close()
        except Exception:
            self.close()
        self.step += 1


def optimizers_of(given: Optimizer | Sequence[Optimizer]) -> list[Optimizer]:
    """One or several, as a list. Raises SettingError for what has no step."""
    found = [given] if isinstance(given, Optimizer) or not isinstance(given, Sequence) else list(given)
    # Wrappers (Accelerate's, Lightning's) hold the one whose hooks fire.
    inner = [each if isinstance(each, Optimizer) else getattr(each, "optimizer", each) for each in found]
    wrong = [each for each in inner if not hasattr(each, "register_step_post_hook")]
    if not inner or wrong:
        what = type(wrong[0]).__name__ if inner and wrong[0] is not None else "nothing"
        raise SettingError(f"monitor needs the optimizer (torch.optim.Optimizer) or a list of them, got {what}")
    return inner


def tell(line: str) -> None:
    """A warning; where warnings are errors, a line: what is said must not end a training."""
    try:
        warnings.warn(line, UserWarning, stacklevel=2)
    except UserWarning:
        sys.stderr.write(f"{line}\n")


def _as_number(value: Any) -> Tensor | float | None:
    """A tensor stays on its device. None for what is no number."""
    if isinstance(value, Tensor):
        return value.detach() if value.numel() and not value.is_complex() else None
    try:
        return float(value)
    except Exception:
        return None


def _calls_itself(frame: FrameType) -> bool:
    """Whether the same function is under way further out, too."""
    outer = frame.f_back
    while outer is not None:
        if outer.f_code is frame.f_code:
            return True
        outer = outer.f_back
    return False


def writes(net: nn.Module | object) -> bool:
    """Whether this process is the one that writes."""
    return not _is_distributed(net) or torch.distributed.get_rank() == 0


def _is_distributed(net: nn.Module | object) -> bool:
    from torch import distributed

    several = distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
    return several and isinstance(net, nn.parallel.DistributedDataParallel)
