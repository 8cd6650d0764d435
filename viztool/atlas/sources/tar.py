"""Photos in tar archives, the shards of WebDataset: one index of each, then every photo is read by its place."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

import fsspec

from viztool.atlas.sources.base import Entry
from viztool.atlas.sources.files import stamp_of
from viztool.errors import ViztoolError
from viztool.images.naming import PICTURE_SUFFIXES


@dataclass(frozen=True)
class Shards:
    """Uncompressed .tar files. A member `0001.cls` holds the label of the photo `0001.jpg` beside it."""

    name: str
    url: str
    paths: tuple[str, ...]

    @property
    def at(self) -> str | list[str]:
        """As `Source.at`."""
        return [str(self.system.unstrip_protocol(path)) for path in self.paths]

    @cached_property
    def system(self) -> Any:
        return fsspec.core.url_to_fs(self.url)[0]

    def entries(self) -> list[Entry]:
        found = [entry for path in self.paths for entry in self._members(path)]
        if not found:
            raise ViztoolError(f"{self.name} holds no picture")
        return found

    def read(self, entry: Entry) -> bytes:
        path, start, size = entry.place
        content: bytes = self.system.cat_file(path, start=start, end=start + size)
        return content

    def stamp(self, entry: Entry) -> str | None:
        try:
            return stamp_of(self.system.info(entry.place[0]))
        except OSError:
            return None

    def _members(self, path: str) -> Iterator[Entry]:
        shard = "" if len(self.paths) == 1 else PurePosixPath(path).name + "/"
        try:
            stamp = stamp_of(self.system.info(path))
            with self.system.open(path, "rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
                members = [member for member in archive if member.isfile()]
                labels = {
                    member.name.removesuffix(".cls"): _text(archive, member)
                    for member in members
                    if member.name.endswith(".cls")
                }
        except (OSError, tarfile.TarError) as error:
            raise ViztoolError(f"{path} cannot be read as an uncompressed tar archive ({error})") from error
        for member in members:
            suffix = PurePosixPath(member.name).suffix
            if suffix.lower() in PICTURE_SUFFIXES:
                label = labels.get(member.name.removesuffix(suffix))
                yield Entry(shard + member.name, stamp, (path, member.offset_data, member.size), label)


def _text(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    file = archive.extractfile(member)
    return "" if file is None else file.read().decode(errors="replace").strip()
