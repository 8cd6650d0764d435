"""Photos that are files: of a folder and those in it, of a pattern, or of a list; here or on a remote file system."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec

from viztool.atlas.sources.base import MISSING, Entry
from viztool.errors import ViztoolError
from viztool.images.naming import PICTURE_SUFFIXES


@dataclass(frozen=True)
class Files:
    """Files of one file system, by their paths below `root`. name: as it was given. labelled: by their first folder."""

    name: str
    url: str
    root: str
    paths: tuple[str, ...] | None = None

    @property
    def at(self) -> str | list[str]:
        """As `Source.at`."""
        return self.url if self.paths is None else [str(self.system.unstrip_protocol(path)) for path in self.paths]

    @cached_property
    def system(self) -> Any:
        return fsspec.core.url_to_fs(self.url)[0]

    def entries(self) -> list[Entry]:
        found = self._listed() if self.paths is None else self._named(self.paths)
        labelled = self.paths is None and all("/" in name for name, _, _ in found)
        return [
            Entry(name, stamp, (path, 0, 0), name.partition("/")[0] if labelled else None)
            for name, path, stamp in found
        ]

    def read(self, entry: Entry) -> bytes:
        content: bytes = self.system.cat_file(entry.place[0])
        return content

    def stamp(self, entry: Entry) -> str | None:
        try:
            return stamp_of(self.system.info(entry.place[0]))
        except OSError:
            return None

    def _listed(self) -> list[tuple[str, str, str]]:
        files = self.system.find(self.root, detail=True)
        found = []
        for path, info in files.items():
            name = posixpath.relpath(path, self.root)
            parts = PurePosixPath(name)
            if parts.suffix.lower() in PICTURE_SUFFIXES and not any(part.startswith(".") for part in parts.parts):
                found.append((name, path, stamp_of(info)))
        if not found:
            raise ViztoolError(f"{self.name} is a folder with no picture in it")
        return found

    def _named(self, paths: Iterable[str]) -> list[tuple[str, str, str]]:
        found = []
        for path in paths:
            try:
                stamp = stamp_of(self.system.info(path))
            except OSError:
                stamp = MISSING
            found.append((posixpath.relpath(path, self.root), path, stamp))
        return found


def stamp_of(info: dict[str, Any]) -> str:
    """What tells a file from a later one of the same name: its size, and what its file system says of its making.

    Of a link those of the file that it leads to: listing tells the link's own, and asking for one file the other's.
    """
    if info.get("islink"):
        try:
            real = Path(info["name"]).stat()
        except OSError:
            return MISSING
        return f"{real.st_size} {real.st_mtime}"
    told = [info.get(key) for key in ("mtime", "ETag", "etag", "LastModified", "updated", "created")]
    return f"{info.get('size')} {next((value for value in told if value is not None), '')}"
