"""Parts of photos, cut where a unit looks."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from viztool.atlas.sources import Photos, find_source
from viztool.atlas.thumbnails import cut, read_thumbnails
from viztool.errors import ViztoolError
from viztool.images.bytes import decode

if TYPE_CHECKING:
    from viztool.atlas.atlas import Atlas
    from viztool.atlas.sources import Entry, Source
    from viztool.atlas.unit import Unit
    from viztool.render.colormaps import Picture

_KEPT = 64
"""Photos that stay in memory: one photo is often the best of several units."""


def album(atlas: Atlas, photos: Photos | None) -> Album:
    """The photos of an atlas. Raises ViztoolError if it is said where they are now, and none of them is there."""
    if photos is not None and not set(atlas.ids) & {entry.id for entry in find_source(photos).entries()}:
        raise ViztoolError(f"{photos} holds none of the {len(atlas.ids):,} photos that {atlas.folder} is of")
    return Album(atlas, photos)


class Album:
    """The photos of an atlas, wherever they are now.

    photos: where, if not where they were when it was built. A photo that cannot be read is None: the numbers stand
    without it.
    """

    def __init__(self, atlas: Atlas, photos: Photos | None = None) -> None:
        self._folder = atlas.folder
        self._given = atlas.about["source"]["at"] if photos is None else photos
        self._thumbnails: dict[str, dict[tuple[int, str, int], bytes]] = {}
        self._decoded: dict[str, Picture | None] = {}

    def photo(self, name: str) -> Picture | None:
        """uint8 RGB (H, W, 3)."""
        if name not in self._decoded:
            if len(self._decoded) >= _KEPT:
                self._decoded.pop(next(iter(self._decoded)))
            self._decoded[name] = self._read(name)
        return self._decoded[name]

    def crops(self, unit: Unit, kind: str, count: int) -> list[Picture | None]:
        """What a unit saw at the first places of a kind ("top", "least", "relevant"): pixels, or else thumbnails."""
        found: list[Picture | None] = []
        for rank, place in enumerate(getattr(unit, kind)[:count]):
            photo = self.photo(place[0])
            found.append(self._thumbnail(unit, kind, rank) if photo is None else cut(photo, place[3]))
        return found

    def _thumbnail(self, unit: Unit, kind: str, rank: int) -> Picture | None:
        if unit.layer not in self._thumbnails:
            self._thumbnails[unit.layer] = read_thumbnails(self._folder, unit.layer)
        jpeg = self._thumbnails[unit.layer].get((unit.channel, kind, rank))
        return None if jpeg is None else decode(jpeg, "thumbnail")

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
