"""Parts of photos, cut where a unit looks."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from viztool.atlas.sources import Photos, find_source
from viztool.errors import ViztoolError
from viztool.images.bytes import decode

if TYPE_CHECKING:
    from viztool.atlas.atlas import Atlas, Place
    from viztool.atlas.sources import Entry, Source
    from viztool.render.colormaps import Picture

_KEPT = 64
"""Photos that stay in memory: one photo is often the best of several units."""


class Album:
    """The photos of an atlas, wherever they are now.

    photos: where, if not where they were when it was built. A photo that cannot be read is None: the numbers stand
    without it.
    """

    def __init__(self, atlas: Atlas, photos: Photos | None = None) -> None:
        self._given = atlas.about["source"]["at"] if photos is None else photos
        self._decoded: dict[str, Picture | None] = {}

    def photo(self, name: str) -> Picture | None:
        """uint8 RGB (H, W, 3)."""
        if name not in self._decoded:
            if len(self._decoded) >= _KEPT:
                self._decoded.pop(next(iter(self._decoded)))
            self._decoded[name] = self._read(name)
        return self._decoded[name]

    def crop(self, place: Place) -> Picture | None:
        """What the unit saw there; whole pixels, at least one."""
        photo = self.photo(place[0])
        return None if photo is None else cut(photo, place[3])

    def _read(self, name: str) -> Picture | None:
        source, entries = self._source
        entry = entries.get(name)
        if source is None or entry is None:
            return None
        try:
            return decode(source.read(entry), name)
        except (OSError, ViztoolError):
            return None

    @cached_property
    def _source(self) -> tuple[Source | None, dict[str, Entry]]:
        if self._given is None:
            return None, {}
        try:
            source = find_source(self._given)
            return source, {entry.id: entry for entry in source.entries()}
        except ViztoolError:
            return None, {}


def cut(photo: Picture, box: tuple[float, float, float, float]) -> Picture:
    """The part of a photo in (top, left, bottom, right): all pixels that the box touches, at least one."""
    h, w = photo.shape[:2]
    top, left = min(int(np.floor(box[0])), h - 1), min(int(np.floor(box[1])), w - 1)
    bottom, right = max(int(np.ceil(box[2])), top + 1), max(int(np.ceil(box[3])), left + 1)
    return np.ascontiguousarray(photo[top:bottom, left:right])
