"""Which pictures a command line names: files, folders and globs."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable
from pathlib import Path

from viztool.images.naming import MAKER, PICTURE_SUFFIXES


def find_images(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """The pictures that `paths` name, each once, in the order given.

    A file is taken whatever it is called. A folder gives the picture files in it (known by their suffix,
    hidden ones, sheets that viztool drew, and those in folders below left out), a glob its matches (`**`
    goes into folders below; if some have a picture's suffix, only those), both in natural order: img2
    before img10. "-", the standard input, stays as it is.

    Never raises, so that one wrong name does not stop a batch: what leads to no picture (a missing file,
    an empty folder, a glob without a match) stays in the list too, and `read_image` says what is wrong with it.
    """
    if isinstance(paths, str | os.PathLike):  # else its letters would be taken for paths
        paths = [paths]
    found: dict[Path, Path] = {}
    for given in paths:
        for path in _expand(os.fspath(given)) or [Path(given)]:
            found.setdefault(path.absolute(), path)
    return list(found.values())


def pictures_in(folder: Path) -> list[Path]:
    """The picture files of a folder but hidden ones and sheets, in natural order.

    Raises OSError if it cannot be listed.
    """
    seen = (path for path in folder.iterdir() if not path.name.startswith(".") and _is_picture(path))
    return sorted((path for path in seen if not _is_sheet(path)), key=_key)


def is_glob(name: str) -> bool:
    """Whether `name` has a character that a shell would expand."""
    return glob.has_magic(name)


def _expand(name: str) -> list[Path]:
    if name == "":  # an unset variable of the shell, not the working folder
        return []
    path = Path(name)
    try:
        if path.is_dir():
            return pictures_in(path)
        if is_glob(name) and not path.exists():  # photo[1].jpg may be a file's own name
            matches = [match for match in map(Path, glob.glob(name, recursive=True)) if match.is_file()]  # noqa: PTH207
            return sorted([match for match in matches if _is_picture(match)] or matches, key=_key)
    except (OSError, ValueError):  # no permission, or no valid path: read_image says so
        pass
    return []


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES and path.is_file()


def _is_sheet(path: Path) -> bool:
    """Whether this is a PNG that says that viztool drew it."""
    if path.suffix.lower() != ".png":
        return False
    try:
        with path.open("rb") as file:
            return f"Software\0{MAKER}".encode() in file.read(128)
    except OSError:
        return False  # read_image says what is wrong with it


def _key(path: Path) -> list[tuple[list[str | int], str]]:
    """Compares paths part by part, and in a part the numbers as numbers."""
    return [([int(text) if odd else text.casefold() for odd, text in _alternating(part)], part) for part in path.parts]


def _alternating(part: str) -> Iterable[tuple[bool, str]]:
    """Text, number, text ...: (whether it is a number, its characters)."""
    return ((i % 2 == 1, text) for i, text in enumerate(re.split(r"([0-9]+)", part)))
