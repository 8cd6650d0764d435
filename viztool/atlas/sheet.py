"""The sheet of an atlas: units of a layer, with what they do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from viztool.atlas.atlas import Atlas
from viztool.atlas.crops import Album
from viztool.atlas.sheet_rows import counts, crops, footer, histogram, words
from viztool.atlas.unit import Unit
from viztool.errors import SettingError
from viztool.render.atlas_sheet import AtlasPage, UnitRow, atlas_page
from viztool.render.canvas import Canvas
from viztool.render.numbers import counted
from viztool.results import Result

_TOPS, _LEASTS, _RELEVANT = 5, 2, 3
SHOWN = 12
"""Units on a sheet, if none are named: those that stand out most."""


def outstanding(atlas: Atlas, layer: str, count: int = SHOWN) -> list[int]:
    """The channels of a layer whose best photo stands out most, (maximum − mean) / sd of the maxima, best first."""
    numbers = atlas[layer].unit_numbers
    sd, rise = numbers["maximum_sd"], numbers["maximum_high"] - numbers["maximum_mean"]
    score = np.divide(rise, sd, out=np.zeros_like(sd), where=sd > 1e-12)
    return [int(channel) for channel in np.argsort(-score, kind="stable")[:count]]


def chosen(atlas: Atlas, layer: str, channels: str | None) -> list[int]:
    """The channels that a text such as "0-7,12" names; those that stand out most if there is none.

    Raises LayerError for a channel that the layer does not have, SettingError for a text that names none.
    """
    if channels is None:
        return outstanding(atlas, layer)
    found: list[int] = []
    for part in channels.split(","):
        first, _, last = part.partition("-")
        try:
            found += range(int(first), int(last or first) + 1)
        except ValueError:
            raise SettingError(f"{channels!r} names no channels; give numbers and ranges, such as 0-7,12") from None
    return [atlas[layer][channel].channel for channel in found]


@dataclass(frozen=True, eq=False, repr=False)
class AtlasSheet(Result):
    """Some units of a layer, each with its numbers, its histogram and the places that it answers to most and least.

    named: whether somebody asked for these, and not for those that stand out most.
    """

    atlas: Atlas
    layer: str
    channels: Sequence[int]
    album: Album
    named: bool = False

    def drawing(self) -> Canvas:
        layer = self.atlas[self.layer]
        labelled = ["And the label that it answers to most: of its photos, the share above the unit's 95 % quantile."]
        labelled = labelled if layer[0].labels else []
        return atlas_page(
            AtlasPage(
                title=f"{self.layer}: what its units answer to",
                subtitle=f"{self.atlas.about['fingerprint']['network']} · {counted(self.atlas.photos, 'photos')} of "
                f"{self.atlas.about['source']['name']}",
                notes=[
                    self._chosen,
                    "At the left, over all photos: the spatial maximum of each, and the units of this layer whose "
                    "maxima go with its own (in brackets the correlation).",
                    *labelled,
                    *_relevance_note(layer[0]),
                    "Histogram: values at all positions of all photos, counts on a logarithmic scale.",
                    "Crops: what the unit saw where its value is largest (smallest), one place a photo.",
                ],
                rows=[_row(layer[channel], self.album) for channel in self.channels],
                footer=footer(self.atlas),
            )
        )

    @property
    def numbers(self) -> dict[str, Any]:
        """Every figure, ready for JSON."""
        return {
            "layer": self.layer,
            "channels": self.atlas.layers[self.layer],
            "chosen": "named" if self.named else "those that stand out most",
            "photos": self.atlas.photos,
            "failed": len(self.atlas.failed),
            "units": [self.atlas[self.layer][channel].numbers for channel in self.channels],
            "fingerprint": self.atlas.about["fingerprint"],
        }

    @property
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """How many of each unit's values, (units, bins), fall into each bin: at all positions, and the maxima."""
        return {
            "channels": np.array(self.channels),
            **counts([self.atlas[self.layer][each] for each in self.channels]),
        }

    @property
    def in_words(self) -> str:
        units = f"{len(self.channels)} of {self.atlas.layers[self.layer]} units"
        return f"{units} of {self.layer} over {counted(self.atlas.photos, 'photos')}"

    @property
    def _chosen(self) -> str:
        count = self.atlas.layers[self.layer]
        how = (
            "as named"
            if self.named
            else "those whose best photo stands out most: its maximum is the most standard deviations above the mean"
        )
        return f"{len(self.channels)} of the layer's {counted(count, 'units')}, {how}."


def _row(unit: Unit, album: Album) -> UnitRow:
    if unit.relevance_known:
        last = crops(unit, album, _RELEVANT, "relevant", "most relevant")
        shown = [*crops(unit, album, _TOPS - 1, "top", "most"), *last]
    else:
        shown = [*crops(unit, album, _TOPS, "top", "most"), *crops(unit, album, _LEASTS, "least", "least")]
    return UnitRow(
        f"{unit.layer} / {unit.channel}", words(unit), histogram(unit, [("99.9 %", unit.quantile(0.999))]), shown
    )


def _relevance_note(unit: Unit) -> list[str]:
    return (
        [
            "Most relevant: where it matters most for the class that the network says (LRP-z+; the number is a part of "
            "that class's score). Overlap: of its eight best photos, how many are among the eight most relevant. "
            "Photos on which it does not matter at all are left out."
        ]
        if unit.relevance_known
        else []
    )
