"""The sheets of an atlas: units with what they do, and what is unusual in a photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

import viztool
from viztool.atlas import bins
from viztool.atlas.atlas import Atlas
from viztool.atlas.crops import Album, album
from viztool.atlas.field import field_box, in_photo
from viztool.atlas.sources import Photos
from viztool.atlas.thumbnails import cut
from viztool.atlas.unit import Unit
from viztool.atlas.unusual import Unusual, unusual
from viztool.errors import SettingError
from viztool.models.model import Model
from viztool.render.atlas_sheet import AtlasPage, Counted, Crop, UnitRow, atlas_page
from viztool.render.canvas import Canvas
from viztool.render.colormaps import Picture
from viztool.render.numbers import counted, number
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


def unusual_sheet(
    atlas: Atlas, model: Model, photo: Picture, count: int, *, source: str, photos: Photos | None = None
) -> UnusualSheet:
    """What is unusual in a photo. source: what it is called. photos: where the atlas's photos are now."""
    others = album(atlas, photos)
    seen, x = model.crop_box(photo.shape), model.preprocess(photo)
    size = (int(x.shape[-2]), int(x.shape[-1]))
    return UnusualSheet(atlas, source, photo, seen, size, unusual(atlas, model, photo, count), others)


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
                footer=_footer(self.atlas),
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
            **_counts([self.atlas[self.layer][each] for each in self.channels]),
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


@dataclass(frozen=True, eq=False, repr=False)
class UnusualSheet(Result):
    """The units that answer to a photo as to few others, each beside the photos that it answers to most."""

    atlas: Atlas
    source: str
    photo: Picture
    seen: tuple[float, float, float, float]
    size: tuple[int, int]
    found: Sequence[Unusual]
    album: Album
    boxes: list[tuple[float, float, float, float]] = field(init=False)

    def __post_init__(self) -> None:
        boxes = [_box(self.atlas, one, self.size, self.seen, self.photo) for one in self.found]
        object.__setattr__(self, "boxes", boxes)

    def drawing(self) -> Canvas:
        rows = []
        for place, (one, box) in enumerate(zip(self.found, self.boxes, strict=True), 1):
            unit = self.atlas[one.layer][one.channel]
            lines = [*_shares(one, self.atlas.photos), *_words(unit)[:1]]
            own = Crop(cut(self.photo, box), _number(one.value), begins="here")
            tops = _crops(unit, self.album, 5, "top", "its top photos")
            marks = [("here", one.value)]
            rows.append(UnitRow(f"{place} · {one.layer} / {one.channel}", lines, _counted(unit, marks), [own, *tops]))
        return atlas_page(
            AtlasPage(
                title=f"What is unusual in {self.source}",
                subtitle=f"{self.atlas.about['fingerprint']['network']} · beside "
                f"{counted(self.atlas.photos, 'photos')} of {self.atlas.about['source']['name']}",
                notes=[
                    "Units whose spatial maximum on this photo is reached or exceeded on the fewest photos of the "
                    "atlas; of equal ones those come first that are most standard deviations above their mean.",
                    "Boxes: what each unit sees where its value is largest.",
                ],
                rows=rows,
                footer=_footer(self.atlas),
                view=self.photo,
                boxes=[(str(place), box) for place, box in enumerate(self.boxes, 1)],
            )
        )

    @property
    def numbers(self) -> dict[str, Any]:
        """Every figure, ready for JSON."""
        return {
            "source": self.source,
            "photos": self.atlas.photos,
            "units": [
                {
                    "layer": one.layer,
                    "channel": one.channel,
                    "value": one.value,
                    "share_above": one.share,
                    "share_reached": one.reached,
                    "deviations": one.deviations,
                    "place": list(one.place),
                    "box": list(box),
                }
                for one, box in zip(self.found, self.boxes, strict=True)
            ],
            "fingerprint": self.atlas.about["fingerprint"],
        }

    @property
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Each unit's value and place on the photo, and how often its values fall into each bin over the atlas."""
        return {
            "layers": np.array([one.layer for one in self.found]),
            "channels": np.array([one.channel for one in self.found]),
            "values": np.array([one.value for one in self.found]),
            "places": np.array([one.place for one in self.found]),
            "boxes": np.array(self.boxes),
            **_counts([self.atlas[one.layer][one.channel] for one in self.found]),
        }

    @property
    def in_words(self) -> str:
        first = self.found[0] if self.found else None
        most = "" if first is None else f"; most {first.layer}/{first.channel}, {_shares(first, self.atlas.photos)[0]}"
        return f"{counted(len(self.found), 'units')} to which {self.source} is unusual{most}"


def _row(unit: Unit, album: Album) -> UnitRow:
    if unit.relevance_known:
        last = _crops(unit, album, _RELEVANT, "relevant", "most relevant")
        crops = [*_crops(unit, album, _TOPS - 1, "top", "most"), *last]
    else:
        crops = [*_crops(unit, album, _TOPS, "top", "most"), *_crops(unit, album, _LEASTS, "least", "least")]
    return UnitRow(
        f"{unit.layer} / {unit.channel}", _words(unit), _counted(unit, [("99.9 %", unit.quantile(0.999))]), crops
    )


def _words(unit: Unit) -> list[str]:
    lines = [
        f"maximum {_number(unit.mean)} ± {_number(unit.sd)}, up to {_number(unit.maximum)}",
        f"above 0 on {_percent(unit.active)} of photos",
    ]
    if unit.relevance_known:
        count = min(8, len(unit.top))
        lines.append(f"overlap with relevance: {round(unit.overlap(count) * count)} of {count}")
        if unit.irrelevant:
            lines.append(f"left out: {counted(unit.irrelevant, 'photos')} of relevance 0")
    elif unit.labels:
        label, share = unit.labels[0]
        lines.append(f"{label}: {_percent(share)} (of all: 5 %)")
    alike = ", ".join(f"{channel} ({number(value, '.2f')})" for channel, value in unit.alike[:2])
    lines.append(f"goes with {alike}" if alike else "goes with no other")
    return lines


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


def _crops(unit: Unit, album: Album, count: int, kind: str, word: str) -> list[Crop]:
    values = [value for _, value, *_ in getattr(unit, kind)[:count]]
    pictures = album.crops(unit, kind, count)
    return [
        Crop(picture, _number(value), begins=word if not at else "")
        for at, (picture, value) in enumerate(zip(pictures, values, strict=True))
    ]


def _counted(unit: Unit, marks: Sequence[tuple[str, float]]) -> Counted:
    histogram = unit.histogram
    return Counted(histogram.edges, histogram.counts, marks)


def _counts(units: Sequence[Unit]) -> dict[str, npt.NDArray[Any]]:
    """edges: (bins + 1,). positions, maxima: (units, bins)."""
    return {
        "edges": bins.edges(),
        "positions": np.stack([unit.counts("position") for unit in units]),
        "maxima": np.stack([unit.counts("maximum") for unit in units]),
    }


def _box(
    atlas: Atlas,
    one: Unusual,
    size: tuple[int, int],
    seen: tuple[float, float, float, float],
    photo: Picture,
) -> tuple[float, float, float, float]:
    return in_photo(field_box(atlas.field(one.layer), one.place, size), size, seen, (photo.shape[0], photo.shape[1]))


def _shares(one: Unusual, photos: int) -> list[str]:
    """How many photos exceed it, and how many come as far, where that is more than a few."""
    above = round(one.share * photos)
    lines = [f"exceeded on {_of(above, photos)}"]
    reached = round(one.reached * photos)
    return lines if reached == above else [*lines, f"as much on {_of(reached - above, photos)}"]


def _of(count: int, photos: int) -> str:
    return f"{count or 'none'} of {counted(photos, 'photos')}"


def _footer(atlas: Atlas) -> str:
    failed = f" · {counted(len(atlas.failed), 'photos')} could not be read" if atlas.failed else ""
    return f"viztool {viztool.__version__} · {atlas.about['fingerprint']['preprocessing']}{failed}"


def _percent(share: float) -> str:
    return f"{number(100 * share, '.3g')} %"


def _number(value: float) -> str:
    return number(value, ".3g")
