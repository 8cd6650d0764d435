"""The page: one HTML file that needs nothing but a browser. Findings, then depth × time, then curves."""

from __future__ import annotations

import gzip
import html
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from string import Template
from typing import Any

import numpy as np
from matplotlib import colormaps

from viztool.images import mark_of
from viztool.monitor.findings import shown_by
from viztool.monitor.quantities import QUANTITIES
from viztool.monitor.run import Run
from viztool.render.web import sealed_page

_HIDDEN = ("moved",)
"""Quantities that rules look at, and nobody needs to see."""


def page_of(runs: Sequence[Run], numbers: Mapping[str, Any], in_words: str) -> str:
    """The whole page, of one training or of several beside one another."""
    room = files("viztool.monitor")
    title = f"Health of {', '.join(dict.fromkeys(_title(run) for run in runs))}"
    body = Template(room.joinpath("page.html").read_text(encoding="utf-8"))
    return sealed_page(
        body.substitute(title=html.escape(title), words=html.escape(in_words)),
        room.joinpath("page.css").read_text(encoding="utf-8"),
        room.joinpath("page.js").read_text(encoding="utf-8"),
        title=title,
        mark=mark_of(numbers).text,
        payload=_packed(runs),
    )


def _title(run: Run) -> str:
    return str(run.about.get("network", "a network"))


def _packed(runs: Sequence[Run]) -> bytes:
    """The length of the head, the head as JSON, and the numbers that it refers to: float32, rounded."""
    arrays: list[np.ndarray[Any, np.dtype[np.float32]]] = []
    told = []
    at = 0
    for run in runs:
        places = {}
        for name, values in run.values.items():
            if name not in _HIDDEN and not (name.endswith("not finite") and not np.nanmax(values, initial=0)):
                places[name] = at
                arrays.append(_short(values.T))
                at += values.size
        told.append(
            {
                "about": run.about,
                "layers": run.layers,
                "steps": run.steps.tolist(),
                "samples": run.samples,
                "findings": [vars(finding) for finding in run.findings],
                "spans": [vars(span) for span in run.spans],
                "network": {name: [_number(each) for each in values] for name, values in run.network.items()},
                "values": places,
            }
        )
    quantities = {
        name: {"title": q.title, "unit": q.unit, "says": q.says, "log": q.log, "signed": q.signed, "range": q.range}
        for name, q in QUANTITIES.items()
    }
    first = shown_by(finding for run in runs for finding in run.findings)
    everything = {"runs": told, "quantities": quantities, "first": first, "colours": _colours()}
    head = json.dumps(everything, allow_nan=False).encode()
    head += b" " * (-len(head) % 4)
    numbers = b"".join(np.ascontiguousarray(array, "<f4").tobytes() for array in arrays)
    return gzip.compress(len(head).to_bytes(4, "little") + head + numbers, 6, mtime=0)


def _short(values: np.ndarray[Any, np.dtype[np.float32]]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Rounded to eleven bits of fraction: what is rounded away takes no room when it is packed."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = ((bits + np.uint32(1 << 11)) & np.uint32(0xFFFFF000)).view(np.float32)
    return np.where(np.isfinite(values), rounded, values)


def _number(value: float) -> float | None:
    return float(f"{value:.4g}") if np.isfinite(value) else None


def _colours() -> dict[str, list[int]]:
    """The colours of 0 … 1 for magnitudes, for shares (white is none), and for what has a sign: 64 × RGB each."""
    names = {"log": "viridis", "range": "Reds", "signed": "RdBu_r"}
    steps = np.linspace(0, 1, 64)
    return {
        kind: np.rint(255 * colormaps[name](steps)[:, :3]).astype(int).ravel().tolist() for kind, name in names.items()
    }
