"""What is known of a training: the numbers of its samples, thinned out where there are many, and its findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from viztool.monitor.findings import Finding
from viztool.monitor.quantities import QUANTITIES

Values = npt.NDArray[np.float32]

MOST = 512
"""Samples of the history that is kept in memory."""
_SPANS = 400


@dataclass
class Span:
    """A finding over time. until: the step of the sample in which it was gone; None if it is still there."""

    kind: str
    layer: str
    since: int
    until: int | None
    evidence: str
    advice: str


@dataclass(frozen=True, eq=False)
class Run:
    """about: the network, the optimizer and the versions. layers: (name, kind), in the order in which they ran.

    steps: (S,). values: by quantity, (S, L), NaN where there is no number. network: of the whole, by name, (S,).
    findings: at the last sample, worst first. spans: of all findings that ever were. samples: how many were taken.
    """

    about: dict[str, Any]
    layers: list[tuple[str, str]]
    steps: npt.NDArray[np.int64]
    values: dict[str, Values]
    network: dict[str, npt.NDArray[np.float64]]
    findings: list[Finding]
    spans: list[Span]
    samples: int


@dataclass
class Row:
    """A sample in short. values: (quantities, layers known then)."""

    step: int
    values: Values
    network: dict[str, float]


@dataclass
class History:
    """Takes rows in, and holds `MOST` at most: when it is full, every second one goes, and from then on is not kept."""

    most: int = MOST
    rows: list[Row] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    samples: int = 0
    last: Row | None = None
    _every: int = 1

    @property
    def wants(self) -> bool:
        """Whether the next row is kept."""
        return self.samples % self._every == 0

    def add(self, row: Row) -> None:
        if self.wants:
            self.rows.append(row)
            if len(self.rows) > self.most:
                self.rows = self.rows[::2]
                self._every *= 2
        self.last = row
        self.samples += 1

    def note(self, step: int, appeared: Sequence[Finding], gone: Sequence[Finding], now: Sequence[Finding]) -> None:
        """The findings of a sample."""
        open_ = {(span.kind, span.layer): span for span in self.spans if span.until is None}
        named = {finding.kind for finding in appeared} & {"not-finite"}  # of the same the layer is known now
        self.spans = [span for span in self.spans if span.until is not None or span.kind not in named]
        for finding in gone:
            open_[finding.kind, finding.layer].until = step
        for finding in now:
            known = open_.get((finding.kind, finding.layer))
            if known is not None and finding not in appeared:
                known.evidence = finding.evidence
        self.spans += [Span(f.kind, f.layer, f.since_step, None, f.evidence, f.advice) for f in appeared]
        if len(self.spans) > _SPANS:
            healed = next(at for at, span in enumerate([*self.spans, self.spans[0]]) if span.until is not None or at)
            del self.spans[healed % len(self.spans)]

    def run(self, about: Mapping[str, Any], layers: Sequence[tuple[str, str]], findings: Sequence[Finding]) -> Run:
        """All of it, the newest sample included."""
        newest = [] if self.last is None or (self.rows and self.rows[-1].step == self.last.step) else [self.last]
        rows = [*self.rows, *newest]
        values = np.full((len(rows), len(QUANTITIES), len(layers)), np.nan, np.float32)
        for at, row in enumerate(rows):
            values[at, :, : row.values.shape[1]] = row.values
        names = dict.fromkeys(name for row in rows for name in row.network)
        network = {name: np.array([row.network.get(name, np.nan) for row in rows], np.float64) for name in names}
        return Run(
            dict(about),
            list(layers),
            np.array([row.step for row in rows], np.int64),
            {name: values[:, at] for at, name in enumerate(QUANTITIES) if np.isfinite(values[:, at]).any()},
            network,
            list(findings),
            [Span(**vars(span)) for span in self.spans],
            self.samples,
        )


def network_numbers(
    network: Mapping[str, float | None], groups: Sequence[Mapping[str, float | None]]
) -> dict[str, float]:
    """The numbers of the whole network in one list, those of parameter groups by their number."""
    found = {name: value for name, value in network.items() if value is not None}
    for at, group in enumerate(groups):
        found |= {f"{name} of group {at}": value for name, value in group.items() if value is not None}
    return found
