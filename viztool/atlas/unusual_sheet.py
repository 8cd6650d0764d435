"""The sheet of a photo: the units to which it is unusual."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from viztool.atlas.atlas import Atlas
from viztool.atlas.crops import Album, album
from viztool.atlas.field import field_box, in_photo
from viztool.atlas.sheet_rows import counts, crops, footer, histogram, short, words
from viztool.atlas.sources import Photos
from viztool.atlas.thumbnails import cut
from viztool.atlas.unusual import Unusual, unusual
from viztool.models.model import Model
from viztool.render.atlas_sheet import AtlasPage, Crop, UnitRow, atlas_page
from viztool.render.canvas import Canvas
from viztool.render.colormaps import Picture
from viztool.render.numbers import counted
from viztool.results import Result


def unusual_sheet(
    atlas: Atlas, model: Model, photo: Picture, count: int, *, source: str, photos: Photos | None = None
) -> UnusualSheet:
    """What is unusual in a photo. source: what it is called. photos: where the atlas's photos are now."""
    others = album(atlas, photos)
    seen, x = model.crop_box(photo.shape), model.preprocess(photo)
    size = (int(x.shape[-2]), int(x.shape[-1]))
    return UnusualSheet(atlas, source, photo, seen, size, unusual(atlas, model, photo, count), others)


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
            lines = [*_shares(one, self.atlas.photos), *words(unit)[:1]]
            own = Crop(cut(self.photo, box), short(one.value), begins="here")
            tops = crops(unit, self.album, 5, "top", "its top photos")
            marks = [("here", one.value)]
            rows.append(UnitRow(f"{place} · {one.layer} / {one.channel}", lines, histogram(unit, marks), [own, *tops]))
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
                footer=footer(self.atlas),
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
            **counts([self.atlas[one.layer][one.channel] for one in self.found]),
        }

    @property
    def in_words(self) -> str:
        first = self.found[0] if self.found else None
        most = "" if first is None else f"; most {first.layer}/{first.channel}, {_shares(first, self.atlas.photos)[0]}"
        return f"{counted(len(self.found), 'units')} to which {self.source} is unusual{most}"


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
