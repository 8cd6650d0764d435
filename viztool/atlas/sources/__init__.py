"""From what a person gives, a folder, a pattern, an archive, a table, to photos with ids."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import fsspec
import numpy as np
import numpy.typing as npt

from viztool.atlas.sources.arrays import Arrays
from viztool.atlas.sources.base import MISSING, Content, Entry, Source
from viztool.atlas.sources.files import Files
from viztool.atlas.sources.table import Rows
from viztool.atlas.sources.tar import Shards
from viztool.errors import ViztoolError
from viztool.images.finding import is_glob
from viztool.images.naming import shown

__all__ = ["MISSING", "Content", "Entry", "Photos", "Source", "find_source"]

Photos: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str] | npt.NDArray[np.uint8]]
"""A folder, a pattern, a .txt file with a path a line, a .tar, a .parquet, all also as URL; or a list of either."""


def find_source(photos: Photos) -> Source:
    """Where these photos are. Raises ViztoolError, in one line, if there is nothing that can be looked through."""
    if isinstance(photos, str | os.PathLike):
        return _of_url(os.fspath(photos))
    items = list(photos)
    if not items:
        raise ViztoolError("no photo was given: the list is empty")
    arrays = tuple(item for item in items if isinstance(item, np.ndarray))
    if len(arrays) == len(items):
        return Arrays(arrays)
    if arrays:
        raise ViztoolError("photos are files or arrays, not both in one list")
    names = [os.fspath(item) for item in items if isinstance(item, str | os.PathLike)]
    if len(names) == 1:
        return _of_url(names[0])
    if all(name.lower().endswith(".tar") for name in names):
        return _shards(f"{len(names)} archives", names)
    return _files(f"{len(names)} files", names)


def _of_url(given: str) -> Source:
    name = shown(given)
    try:
        system, path = fsspec.core.url_to_fs(given if "://" in given else str(Path(given).absolute()))
        if is_glob(given) and not system.exists(path):
            matches = sorted(str(match) for match in system.glob(path))
            if not matches:
                raise ViztoolError(f"nothing matches {name}")
            urls = [system.unstrip_protocol(match) for match in matches]
            if all(match.lower().endswith(".tar") for match in matches):
                return _shards(name, urls)
            return _files(name, [url for url, match in zip(urls, matches, strict=True) if not system.isdir(match)])
        if system.isdir(path):
            inside = sorted(str(one) for one in system.ls(path, detail=False))
            tars = [one for one in inside if one.lower().endswith(".tar")]
            if tars and len(tars) == len([one for one in inside if not posixpath.basename(one).startswith(".")]):
                return _shards(name, [system.unstrip_protocol(one) for one in tars])
            return Files(name, given if "://" in given else path, path)
        if not system.exists(path):
            raise ViztoolError(f"no such file or folder: {name}")
    except (OSError, ValueError, ImportError) as error:
        raise ViztoolError(f"{name} cannot be looked through: {error}") from error
    suffix = posixpath.splitext(path)[1].lower()
    url = given if "://" in given else path
    if suffix == ".tar":
        return _shards(name, [url])
    if suffix in (".parquet", ".pq"):
        return Rows(name, url, path)
    if suffix == ".txt":
        return _listed(name, system, path)
    return _files(name, [url])


def _listed(name: str, system: Any, path: str) -> Source:
    """The paths in a text file, a line each, from the folder that it is in."""
    try:
        lines = system.cat_file(path).decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ViztoolError(f"{name} cannot be read as a list of photos: {error}") from error
    base = posixpath.dirname(path)
    paths = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not paths:
        raise ViztoolError(f"{name} names no photo")
    urls = [one if "://" in one else system.unstrip_protocol(posixpath.join(base, one)) for one in paths]
    return _files(name, urls)


def _files(name: str, urls: Sequence[str]) -> Files:
    paths = [_place(url) for url in urls]
    if len({type(system) for system, _ in paths}) > 1:
        raise ViztoolError(f"{name} lie on several file systems; give them one by one")
    places = sorted({path for _, path in paths})
    root = posixpath.commonpath([posixpath.dirname(place) for place in places])
    return Files(name, urls[0], root, tuple(places))


def _shards(name: str, urls: Sequence[str]) -> Shards:
    return Shards(name, urls[0], tuple(sorted({_place(url)[1] for url in urls})))


def _place(url: str) -> tuple[Any, str]:
    system, path = fsspec.core.url_to_fs(url if "://" in url else str(Path(url).absolute()))
    return system, path
