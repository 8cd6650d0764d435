"""A training that runs, in a terminal."""

from __future__ import annotations

from os import PathLike

import numpy as np
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from viztool.monitor.layers_by_name import shown
from viztool.monitor.log import LogError
from viztool.monitor.report import Reader, Report
from viztool.monitor.run import Run
from viztool.render.numbers import number

_SHOWN = ("dead", "saturated", "ratio", "update", "rank", "varies")
_HEADINGS = {"dead": "dead", "saturated": "saturated", "ratio": "gradient", "update": "update", "rank": "rank"}
_ROWS = 24
_BARS = "▁▂▃▄▅▆▇█"


class Following:
    """Looks at a log again and again; only what is new is read."""

    def __init__(self, path: str | PathLike[str]) -> None:
        self._reader = Reader(path)

    def look(self) -> RenderableType:
        """What there is now, to be shown. A training that is to come makes its log with its first sample."""
        path = self._reader.path
        if not path.exists():
            return Text(f"{path} is not there yet")
        try:
            run = self._reader.read()
        except LogError as error:
            if path.exists() and path.stat().st_size:
                raise
            return Text(str(error))
        return shown_run(run)

    def in_words(self) -> str:
        """What there is now, where nobody can watch it change."""
        return Report(self._reader.read()).in_words


def shown_run(run: Run) -> RenderableType:
    """The findings, the loss, and the last sample of the layers."""
    samples = f"{run.samples:,} sample{'' if run.samples == 1 else 's'}"
    head = Text(f"{run.about.get('network', 'a network')} · step {run.steps[-1]:,} · {samples}")
    parts: list[RenderableType] = [head]
    loss = run.network.get("loss")
    if loss is not None and np.isfinite(loss).any():
        parts.append(Text(f"loss {number(float(loss[np.isfinite(loss)][-1]), '.3g')}  {_line(loss)}"))
    if not run.findings:
        parts.append(Text("no findings", style="green"))
    for finding in run.findings:
        parts.append(
            Text(f"{finding.kind} in {shown(finding.layer)} since step {finding.since_step}", style="bold red")
        )
        parts += [Text(f"  {finding.evidence}"), Text(f"  {finding.advice}", style="dim")]
    return Group(*parts, _table(run))


def _table(run: Run) -> Table:
    quantities = [name for name in _SHOWN if name in run.values]
    table = Table("layer", *(_HEADINGS.get(name, name) for name in quantities), box=None, pad_edge=False)
    found = {finding.layer for finding in run.findings}
    layers = list(enumerate(run.layers))
    if len(layers) > _ROWS:  # those with a finding, and as many others, evenly spaced
        every = -(-len(layers) // _ROWS)
        layers = [(at, layer) for at, layer in layers if at % every == 0 or layer[0] in found]
    for at, (name, _) in layers:
        cells = [
            number(float(run.values[q][-1, at]), ".2g") if np.isfinite(run.values[q][-1, at]) else ""
            for q in quantities
        ]
        table.add_row(escape(shown(name)), *cells, style="red" if name in found else "")
    return table


def _line(values: np.ndarray[tuple[int], np.dtype[np.float64]], width: int = 60) -> str:
    """The newest values as a row of bars."""
    newest = values[np.isfinite(values)][-width:]
    low, high = float(newest.min()), float(newest.max())
    steps = np.rint((newest - low) / (high - low) * (len(_BARS) - 1)) if high > low else np.zeros(len(newest))
    return "".join(_BARS[int(step)] for step in steps)
