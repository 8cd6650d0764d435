"""A training as a sheet, a page, numbers and words: from the log, or while it runs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from viztool.images import atomic_write
from viztool.monitor.findings import Finding
from viztool.monitor.log import LogError, in_short, lines_of, parsed
from viztool.monitor.quantities import QUANTITIES
from viztool.monitor.rules import RULES
from viztool.monitor.run import History, Row, Run, network_numbers
from viztool.render.canvas import Canvas
from viztool.results import Result

SUFFIXES = (".html", ".htm")


class Told(Result):
    """What there is to say of a training. `run` is all that it is told from."""

    @property
    @abstractmethod
    def run(self) -> Run:
        """The training so far."""

    @property
    def findings(self) -> list[Finding]:
        """What goes wrong at the last sample, worst first; none if nothing does."""
        return self.run.findings

    def drawing(self) -> Canvas:
        from viztool.monitor.sheet import drawn

        return drawn(self.run)

    @property
    def html(self) -> str:
        """The page: one file that needs nothing but a browser."""
        from viztool.monitor.page import page_of

        return page_of([self.run], self.numbers, self.in_words)

    @property
    def numbers(self) -> dict[str, Any]:
        run = self.run
        last = {
            name: {
                quantity: float(f"{values[-1, at]:.6g}")
                for quantity, values in run.values.items()
                if len(values) and np.isfinite(values[-1, at])
            }
            for at, (name, _) in enumerate(run.layers)
        }
        return {
            "samples": run.samples,
            "step": int(run.steps[-1]) if len(run.steps) else None,
            "findings": [vars(finding) for finding in run.findings],
            "healed": [vars(span) for span in run.spans if span.until is not None],
            "layers": last,
            "network": {name: float(v[-1]) for name, v in run.network.items() if len(v) and np.isfinite(v[-1])},
            "versions": run.about.get("versions", {}),
        }

    @property
    def in_words(self) -> str:
        """How many findings in how many samples, and each of them."""
        run = self.run
        network = run.about.get("network", "a network")
        if not len(run.steps):
            return f"{network}: no sample yet"
        count = f"{len(run.findings)} finding{'' if len(run.findings) == 1 else 's'}" if run.findings else "no findings"
        head = f"{network}: {count} at step {run.steps[-1]:,}, {run.samples:,} samples of {len(run.layers)} layers"
        return "\n".join([head, *map(str, run.findings)])

    def save(self, path: str | PathLike[str], *, force: bool = True) -> Path:
        """Write the page to .html, the sheet to any other suffix. Whole or not at all. Returns the path.

        force: False never replaces a file that viztool did not make. Raises ImageError if it cannot be written.
        """
        target = Path(path)
        if target.suffix.lower() not in SUFFIXES:
            return super().save(target, force=force)
        page = self.html
        with atomic_write(target, force=force) as file:
            file.write(page.encode())
        return target


@dataclass(frozen=True, eq=False, repr=False)
class Report(Told):
    """A training that was logged."""

    logged: Run

    @property
    def run(self) -> Run:
        return self.logged


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Told):
    """Several trainings that were logged. Its sheet is that of the first, its page has all."""

    runs: tuple[Run, ...]

    @property
    def run(self) -> Run:
        return self.runs[0]

    @property
    def html(self) -> str:
        from viztool.monitor.page import page_of

        return page_of(list(self.runs), self.numbers, self.in_words)

    @property
    def numbers(self) -> dict[str, Any]:
        return {"runs": [Report(run).numbers for run in self.runs], "versions": self.run.about.get("versions", {})}

    @property
    def in_words(self) -> str:
        return "\n".join(f"{run.about.get('log', '')}: {Report(run).in_words}" for run in self.runs)


class Reader:
    """Reads a log, and what is added to it meanwhile; from its beginning if another has taken its place."""

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)
        self._advice = {rule.kind: rule.advice for rule in RULES}
        self._begin(b"")

    def _begin(self, head: bytes) -> None:
        """Know nothing yet. head: the first line."""
        self._head = head
        self.about: dict[str, Any] = {"log": self.path.name}
        self._layers: list[tuple[str, str]] = []
        self._history = History()
        self._findings: list[Finding] = []
        self._place = 0

    def read(self) -> Run:
        """Take in all that is new. Raises LogError if it is no log, or has no sample at all."""
        newest = b""
        head = next(lines_of(self.path), b"")
        if head != self._head or self.path.stat().st_size < self._place:
            self._begin(head)
        for newest in lines_of(self.path, self._place):
            self._add(newest)
            self._place += len(newest)
        if newest:
            self._history.last = self._row(parsed(newest, self.path, self._history.samples))
        if not self._history.samples:
            raise LogError(f"{self.path} has no sample yet")
        return self._history.run(self.about, self._layers, self._findings)

    def _add(self, text: bytes) -> None:
        line = None if self._history.wants else in_short(text)
        if line is None:
            line = parsed(text, self.path, self._history.samples + 1)
        if "about" in line:
            self.about |= line["about"]
        if "layers" in line:
            self._layers = [(str(name), str(kind)) for name, kind in line["layers"]]
        step = int(line["step"])
        if self._history.wants:
            self._history.add(self._row(line))
        else:
            self._history.samples += 1
        before = self._findings
        self._findings = [
            Finding(kind, layer, since, evidence, self._advice.get(kind, ""))
            for kind, layer, since, evidence in line["findings"]
        ]
        self._history.note(step, *_changed(before, self._findings), self._findings)

    def _row(self, line: Mapping[str, Any]) -> Row:
        values = np.full((len(QUANTITIES), len(self._layers)), np.nan, np.float32)
        for at, quantity in enumerate(QUANTITIES):
            column = line["values"].get(quantity)
            if column:
                values[at, : len(column)] = np.array(column, np.float32)  # None becomes NaN
        return Row(int(line["step"]), values, network_numbers(line["network"], line["groups"]))


def read_log(path: str | PathLike[str]) -> Report:
    """The training that a log tells of. Raises LogError if it cannot be read."""
    return Report(Reader(path).read())


def compare_logs(paths: list[str]) -> Comparison:
    """Several trainings beside one another. Raises LogError if one cannot be read."""
    return Comparison(tuple(Reader(path).read() for path in paths))


def _changed(before: list[Finding], now: list[Finding]) -> tuple[list[Finding], list[Finding]]:
    key: Callable[[Finding], tuple[str, str]] = lambda finding: (finding.kind, finding.layer)  # noqa: E731
    old, new = set(map(key, before)), set(map(key, now))
    return [each for each in now if key(each) not in old], [each for each in before if key(each) not in new]


__all__ = ["Comparison", "Reader", "Report", "Told", "compare_logs", "read_log"]
