"""Heatmaps of one photo side by side: several methods, several targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

import viztool
from viztool.heatmaps.heatmap import SCALE_SHARE, Heatmap
from viztool.render.canvas import Canvas
from viztool.render.compare import CompareSheet, CompareTile, compare_sheet
from viztool.render.numbers import number, percent
from viztool.render.predictions import Predictions
from viztool.results import Result


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Result):
    """heatmaps: of one image each, all of the same. raw: draw layer cells, not the maps over the photo.

    failed: the methods that cannot be had on this network, and why.
    """

    heatmaps: Sequence[Heatmap]
    raw: bool = False
    failed: Mapping[str, str] = field(default_factory=dict)

    def drawing(self) -> Canvas:
        """The comparison sheet."""
        first = self.heatmaps[0]
        subject = first.subjects[0]
        notes = [
            f"All on one scale, to {number(self._scale, '.3g')}: a paler map says less."
            if self._scale is not None
            else "Each tile is one method's map on a scale of its own, which ends at its largest value but for "
            f"{percent(1 - SCALE_SHARE, 1)} of its cells.",
        ]
        if first.box is not None:
            notes.append("The frame is the box that was asked about.")
        if self.failed:
            notes.append(f"Not on this network: {', '.join(self.failed)}.")
        return compare_sheet(
            CompareSheet(
                title=subject.source,
                subtitle=f"{subject.network} · {subject.weights}",
                view=subject.view,
                predictions=first.predictions[0] if first.predictions else Predictions(),
                notes=notes,
                tiles=[self._tile(index) for index in range(len(self.heatmaps))],
                raw=self.raw,
                footer=f"viztool {viztool.__version__} · {subject.preprocessing}",
            )
        )

    @property
    def _scale(self) -> float | None:
        """The end of the scale that all have in common: of maps of one kind at one layer, with a box."""
        kinds = {(heatmap.layer, heatmap.unit, heatmap.signed) for heatmap in self.heatmaps}
        boxed = all(heatmap.box is not None for heatmap in self.heatmaps)
        return max(heatmap.limit(0) for heatmap in self.heatmaps) if boxed and len(kinds) == 1 else None

    @property
    def numbers(self) -> dict[str, Any]:
        return {
            **self.heatmaps[0].subjects[0].numbers,
            "heatmaps": [heatmap.numbers for heatmap in self.heatmaps],
            "failed": dict(self.failed),
        }

    @property
    def in_words(self) -> str:
        """A line for each heatmap."""
        return "\n  ".join(heatmap.in_words for heatmap in self.heatmaps)

    @property
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Each map, float32 (h, w), under "method, target"."""
        return {f"{heatmap.method}, {heatmap.target[0]}": heatmap.raw[0].numpy() for heatmap in self.heatmaps}

    def _tile(self, index: int) -> CompareTile:
        heatmap = self.heatmaps[index]
        values = heatmap.raw[0].numpy()
        place = f"{', '.join(heatmap.layer)} · " if heatmap.layer else ""
        lines = [
            f"{heatmap.method}{heatmap.way(0)} · {heatmap.target[0]}",
            f"{place}{values.shape[0]} × {values.shape[1]} · max {number(abs(values).max(), '.2g')}",
            *heatmap.checks(0),
        ]
        limit = heatmap.limit(0) if self._scale is None else self._scale
        # A value for each pixel is a cloud of dots: over a photo one cannot tell them from it, nor red from blue.
        plain = not self.raw and values.shape == heatmap.subjects[0].view.shape[:2]
        shown = abs(values) if plain else values
        return CompareTile(shown, limit, heatmap.signed, lines, heatmap.flags(0), heatmap.box, plain)
