"""`viztool.monitor(net, optimizer)`: what a user holds while a network trains."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from viztool.errors import SettingError
from viztool.hooks.naming import unwrap
from viztool.monitor.engine import Engine, optimizers_of, tell, writes
from viztool.monitor.findings import Book, Finding
from viztool.monitor.layers_by_name import layer_of
from viztool.monitor.log import LogError, LogWriter
from viztool.monitor.report import Told
from viztool.monitor.rules import RULES, Rule
from viztool.monitor.run import History, Row, Run, network_numbers
from viztool.monitor.sample import Sample, as_array, as_row
from viztool.results import versions

OnSample = Callable[["Health", Sample], None]


class Health(Told):
    """Watch a network's health while it trains; the loop stays as it is.

    >>> health = viztool.monitor(net, optimizer, log="run.jsonl")  # doctest: +SKIP
    >>> health.findings, health.save("health.html")  # doctest: +SKIP

    Every so many steps of the optimizer (of the first, if there are several) one step is looked at: activations,
    gradients, and what the step did to the weights. Between these there are no hooks on the network. Weights,
    optimizer, random numbers, buffers and losses are bit for bit those of a training without it. A compiled network
    runs eagerly in the steps that are looked at, and is then equal up to rounding. `with` closes it at its end.

    net: a network or a viztool `Model`, also compiled or in DDP (the processes' numbers are put together; process 0
    writes). log: a file that gets one JSON line for each sample. rules: with other thresholds, see `Rule`. quiet: no
    warning when a finding appears. on_sample: called after each sample, with this object and the sample.

    Raises ModelError for a network that is scripted or sharded (FSDP), SettingError for what is no optimizer, and
    LogError for a log that is another's file, that another monitor writes, or that cannot be written. Nothing raises
    afterwards.
    """

    def __init__(
        self,
        net: nn.Module | object,
        optimizer: Optimizer | Sequence[Optimizer],
        every: int = 50,
        log: str | PathLike[str] | None = None,
        *,
        rules: Sequence[Rule] = RULES,
        quiet: bool = False,
        on_sample: OnSample | None = None,
    ) -> None:
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise SettingError(f"every is a number of steps, 1 or more, not {every!r}")
        if log is not None and not isinstance(log, str | PathLike):
            raise SettingError(f"log is the name of a file, not {log!r}")
        optimizers = optimizers_of(optimizer)
        self._quiet = quiet
        self._on_sample = on_sample
        self._book = Book(rules)
        self._history = History()
        self._names: list[tuple[str, str]] = []
        self._told: set[tuple[str, str]] = set()
        self._log = None if log is None else LogWriter(Path(log))
        if self._log is not None:
            if writes(net):
                self._log.try_it()
            _refuse_shared(self._log.path, net)
        self._engine = Engine(net, optimizers, every, self._take)
        _ALL.add(self)
        self._about = {
            "network": type(self._engine.root).__name__,
            "optimizer": ", ".join(type(each).__name__ for each in optimizers),
            "every": every,
            "parameters": sum(each.numel() for layer in self._engine.layers for each in layer.parameters),
            "versions": versions(),
        }

    @property
    def findings(self) -> list[Finding]:
        """What goes wrong at the last sample, worst first; none if nothing does."""
        return list(self._book.findings)

    @property
    def run(self) -> Run:
        return self._history.run(self._about, self._names, self._book.findings)

    @property
    def noise_scale(self) -> float | None:
        """The batch size at which the gradient's noise weighs as much as the gradient; None without accumulation.

        Of all samples kept. McCandlish et al. 2018, appendix A.1.
        """
        rows = [row.network for row in self._history.rows if "noise" in row.network]
        signal = sum(row["signal"] for row in rows)
        return sum(row["noise"] for row in rows) / signal if signal > 0 else None

    def record(self, **values: Any) -> None:
        """Numbers to keep with the next sample, such as loss=loss: read only when that is taken."""
        if not self._engine.closed:
            self._engine.note(values)

    def close(self) -> None:
        """Watch no longer; what was found stays. Nothing is left on the network or the optimizer."""
        self._engine.close()
        if self._log is not None:
            self._log.close()

    def __enter__(self) -> Health:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def state_dict(self) -> dict[str, Any]:
        """What a training that goes on needs beside the optimizer's: its step, its findings, the end of its log."""
        return {
            "step": self._engine.step,
            "book": self._book.state(),
            "names": [list(each) for each in self._names],
            "log": None if self._log is None else self._log.place,
            "rows": [[row.step, torch.from_numpy(row.values.copy()), dict(row.network)] for row in self._history.rows],
            "spans": [dict(vars(span)) for span in self._history.spans],
            "samples": self._history.samples,
            "every": self._history._every,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken; the log keeps what it had then, and loses what came after."""
        from viztool.monitor.run import Span

        self._book.load(state["book"])
        self._names = [(name, kind) for name, kind in state["names"]]
        rows = [Row(step, values.numpy(), dict(network)) for step, values, network in state["rows"]]
        spans = [Span(**each) for each in state["spans"]]
        self._history = History(rows=rows, spans=spans, samples=state["samples"], _every=state["every"])
        self._history.last = rows[-1] if rows else None
        self._told = {(each.kind, each.layer) for each in self._book.findings}
        if self._log is not None and state["log"] is not None:
            self._log.go_on_at(state["log"])
        self._engine.restart(state["step"])

    def _take(self, sample: Sample) -> None:
        appeared, gone = self._book.add(sample)
        known = {name for name, _ in self._names}
        kinds = {layer.name: layer.kind for layer in self._engine.layers}
        self._names += [(key, kinds.get(layer_of(key), "")) for key in sample.layers if key not in known]
        names = [name for name, _ in self._names]
        row = as_row(sample, names)
        network = network_numbers(row["network"], row["groups"])
        self._history.add(Row(sample.step, as_array(sample, names), network))
        self._history.note(sample.step, appeared, gone, self._book.findings)
        if not self._engine.writes:
            return
        if self._log is not None:
            row["findings"] = [[each.kind, each.layer, each.since_step, each.evidence] for each in self._book.findings]
            self._log.write(row, self._about, self._names)
        for finding in appeared:
            if not self._quiet and (finding.kind, finding.layer) not in self._told:
                tell(f"viztool.monitor, step {sample.step}: {finding}")
            self._told.add((finding.kind, finding.layer))
        if self._on_sample is not None:
            self._on_sample(self, sample)


monitor = Health
"""The room's verb."""

_ALL: weakref.WeakSet[Health] = weakref.WeakSet()


def _refuse_shared(path: Path, net: nn.Module | object) -> None:
    """Raise LogError if a monitor of another network writes this log; one of the same network ends by itself."""
    root, place = unwrap(net), path.resolve()

    def shared() -> bool:
        others = [each for each in _ALL if not each._engine.closed and each._engine.root is not root]
        return any(each._log is not None and each._log.path.resolve() == place for each in others)

    if shared():
        gc.collect()  # it may be one that nobody has any more
        if shared():
            raise LogError(f"{path} is written by another monitor; close that, or give another name")
