"""The sheet of a training: its findings, and the maps that show them."""

from __future__ import annotations

import numpy as np

from viztool.monitor.findings import shown_by
from viztool.monitor.layers_by_name import layer_of, shown
from viztool.monitor.quantities import QUANTITIES
from viztool.monitor.run import Run
from viztool.render.canvas import Canvas
from viztool.render.health_sheet import DepthMap, HealthPage, Said, Scale, health_page
from viztool.render.numbers import number

_FINDINGS, _MAPS = 6, 6
_USUAL = ("dead", "ratio", "update", "varies", "rank", "sd", "saturated", "norm drift", "weight gradient")
"""Of these as many as there is room for, after those that findings are told from."""
_COLUMNS = 240


def drawn(run: Run) -> Canvas:
    """The sheet."""
    network = str(run.about.get("network", "a network"))
    count = len(run.findings)
    last = number(int(run.steps[-1]), ".9g") if len(run.steps) else "none"
    verdict = f"{count} finding{'' if count == 1 else 's'} at step {last}" if count else f"No findings at step {last}"
    about = [
        str(run.about.get("optimizer", "")),
        f"{run.about['parameters']:,} parameters" if "parameters" in run.about else "",
        f"{run.samples:,} samples, one every {run.about.get('every', '?')} steps",
    ]
    versions = " · ".join(f"{name} {version}" for name, version in run.about.get("versions", {}).items())
    return health_page(
        HealthPage(
            title=f"Health of {network}",
            subtitle=" · ".join(filter(None, about)),
            notes=_notes(run),
            verdict=verdict,
            findings=[
                Said(f"{f.kind} in {shown(f.layer)} since step {f.since_step:,}", _capital(f.evidence), f.advice)
                for f in run.findings[:_FINDINGS]
            ],
            more=max(0, count - _FINDINGS),
            maps=_maps(run) if len(run.steps) else [],
            footer=versions,
        )
    )


def _notes(run: Run) -> list[str]:
    notes = ["Layers from the input (top) to the output, time to the right; red names have a finding."]
    loss = run.network.get("loss")
    if loss is not None and np.isfinite(loss).any():
        known = loss[np.isfinite(loss)]
        notes.append(
            f"Loss {number(float(known[0]), '.3g')} at the first sample, {number(float(known[-1]), '.3g')} now."
        )
    gone = sum(span.until is not None for span in run.spans)
    if gone:
        notes.append(f"{gone} finding{'s' if gone > 1 else ''} came and went.")
    return notes


def _maps(run: Run) -> list[DepthMap]:
    wanted = [name for name in dict.fromkeys([*shown_by(run.findings), *_USUAL]) if name in run.values]
    found = frozenset(f.layer for f in run.findings)
    every = max(1, -(-len(run.steps) // _COLUMNS))
    maps = []
    for name in wanted[:_MAPS]:
        values = run.values[name].T[:, ::every]
        rows = [at for at in range(len(run.layers)) if np.isfinite(values[at]).any()]
        quantity = QUANTITIES[name]
        scale: Scale = "share" if quantity.range else "signed" if quantity.signed else "log"
        names = [layer_of(run.layers[at][0]) or "(network)" for at in rows]
        ends = (int(run.steps[0]), int(run.steps[-1]))
        maps.append(DepthMap(quantity.title, quantity.unit, values[rows], names, found, ends, scale))
    return maps


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
