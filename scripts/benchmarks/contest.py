"""Two pieces of work, timed in turn, so that whatever else the machine does falls on both; and the table of it."""

from __future__ import annotations

import importlib
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Literal

import torch
from rich import box
from rich.markup import escape
from rich.table import Table

Work = Callable[[], Any]
Figure = Literal["cost", "gain", "seconds"]

HEADINGS = ("what", "against", "figure", "quartiles", "mark", "", "pairs", "note")
PASS, MISS, SKIPPED, FAILED = "pass", "MISS", "skipped", "FAILED"
_PACKAGES = ("torch", "torchvision", "timm", "numpy", "opencv-python", "matplotlib")
_PEERS = ("torchlens", "grad-cam", "torchcam", "captum")


class NotHereError(Exception):
    """A row cannot be measured on this machine; the message says why."""


@dataclass(frozen=True)
class Contest:
    """Two pieces of work; without a second one, the first is measured by itself.

    cost: what one run of a piece costs, in seconds unless given. note: said beside the figure.
    """

    ours: Work
    theirs: Work | None
    cost: Callable[[Work], float] | None = None
    note: str = ""


@dataclass(frozen=True)
class Row:
    """One line of the table, to be measured.

    figure: a "cost" is ours / theirs, a "gain" theirs / ours; "seconds" are ours alone. mark: the most
    that a cost or the seconds may be, the least that a gain may be; None if there is none. pairs: how
    many are run. contest: makes the two works; what it puts on the stack is undone after the row.
    """

    what: str
    against: str
    figure: Figure
    mark: float | None
    pairs: int
    contest: Callable[[ExitStack], Contest]

    def figure_of(self, ours: float, theirs: float) -> float:
        if self.figure == "seconds":
            return ours
        return ours / theirs if self.figure == "cost" else theirs / ours

    def verdict(self, figure: float) -> str:
        if self.mark is None:
            return ""
        return PASS if (figure >= self.mark if self.figure == "gain" else figure <= self.mark) else MISS


MakeContest = Callable[[ExitStack], Contest]

ROWS: list[Row] = []
"""All rows of the table, in the order in which they were added."""


def row(
    what: str, against: str, *, figure: Figure = "cost", mark: float | None = None, pairs: int = 20
) -> Callable[[MakeContest], MakeContest]:
    """Make a function that gives a Contest a row of the table; see `Row`."""

    def add(contest: MakeContest) -> MakeContest:
        ROWS.append(Row(what, against, figure, mark, pairs, contest))
        return contest

    return add


def peer(module: str, package: str) -> Any:
    """A module of another library. NotHereError if that is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise NotHereError(f"{package} is not installed; pip install '.[bench]'") from None


@dataclass(frozen=True)
class Outcome:
    """A row, measured: the median and the quartiles of its figure over all pairs; or a note why not.

    ours, theirs: the median cost of each side, in seconds or whatever the contest measures.
    """

    what: str
    against: str
    figure: Figure
    mark: float | None
    verdict: str
    note: str
    pairs: int = 0
    median: float | None = None
    quartiles: tuple[float, float] | None = None
    ours: float | None = None
    theirs: float | None = None


def measure(row: Row, pairs: int | None = None) -> Outcome:
    """Run the row's contest, after one run of each side that does not count."""
    try:
        with ExitStack() as stack:
            contest = row.contest(stack)
            costs = list(_in_turn(contest, pairs or row.pairs))
    except NotHereError as reason:
        return _unmeasured(row, SKIPPED, str(reason))
    except Exception as error:  # the other rows are still worth their time
        return _unmeasured(row, FAILED, f"{type(error).__name__}: {error}")
    figures = [row.figure_of(ours, theirs) for ours, theirs in costs]
    low, middle, high = quantiles(figures, n=4, method="inclusive") if len(figures) > 1 else figures * 3
    return Outcome(
        what=row.what,
        against=row.against,
        figure=row.figure,
        mark=row.mark,
        verdict=row.verdict(middle),
        note=contest.note,
        pairs=len(figures),
        median=middle,
        quartiles=(low, high),
        ours=median(ours for ours, _ in costs),
        theirs=None if contest.theirs is None else median(theirs for _, theirs in costs),
    )


def _unmeasured(row: Row, verdict: str, note: str) -> Outcome:
    return Outcome(row.what, row.against, row.figure, row.mark, verdict, note)


def _in_turn(contest: Contest, pairs: int) -> Iterator[tuple[float, float]]:
    """What ours and theirs cost, pair by pair; a missing side costs 0."""
    cost = contest.cost or _seconds
    for turn in range(-1, pairs):
        # Who goes first changes from pair to pair: the second may find warm caches, or a warm processor.
        ours_first = turn % 2 == 0
        before = cost(contest.theirs) if contest.theirs is not None and not ours_first else 0.0
        ours = cost(contest.ours)
        after = cost(contest.theirs) if contest.theirs is not None and ours_first else 0.0
        if turn >= 0:
            yield ours, before + after


def _seconds(work: Work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def cpu_seconds(work: Work) -> float:
    """Of all threads of this process."""
    start = time.process_time()
    work()
    return time.process_time() - start


def machine() -> dict[str, str]:
    """What was measured on, and with."""
    return {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "threads": str(torch.get_num_threads()),
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "not set"),
        "python": platform.python_version(),
        **{package: _version(package) for package in (*_PACKAGES, *_PEERS)},
    }


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def as_markdown(outcomes: Sequence[Outcome]) -> str:
    lines = [HEADINGS, ("---",) * len(HEADINGS), *(_cells(outcome) for outcome in outcomes)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def as_table(outcomes: Sequence[Outcome]) -> Table:
    table = Table(*HEADINGS, box=box.SIMPLE)
    for outcome in outcomes:
        table.add_row(*map(escape, _cells(outcome)), style="red" if outcome.verdict in (MISS, FAILED) else "")
    return table


def _cells(outcome: Outcome) -> tuple[str, ...]:
    unit = "s" if outcome.figure == "seconds" else "×"
    sign = "≥" if outcome.figure == "gain" else "≤"
    figure = spread = ""
    if outcome.median is not None and outcome.quartiles is not None:
        digits = 1 if outcome.figure == "gain" else 3
        low, high = outcome.quartiles
        figure = f"{outcome.median:.{digits}f} {unit}"
        spread = f"{low:.{digits}f} to {high:.{digits}f}" if outcome.pairs > 1 else ""
    mark = "" if outcome.mark is None else f"{sign} {outcome.mark:g} {unit}"
    pairs = str(outcome.pairs or "")
    return outcome.what, outcome.against, figure, spread, mark, outcome.verdict, pairs, outcome.note
