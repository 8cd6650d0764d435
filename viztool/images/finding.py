"""Which pictures a command line names: files, folders and globs."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from viztool.images.naming import MAKER, PICTURE_SUFFIXES, reason, shown

_ENOUGH = 10_000
"""Entries below a folder to look at before one says whether there are pictures."""


def find_images(
    paths: Iterable[str | os.PathLike[str]], *, recursive: bool = False, note: Callable[[str], object] | None = None
) -> list[Path]:
    """The pictures that `paths` name, each once, in the order given.

    A file is taken whatever it is called. A folder gives the picture files in it (known by their suffix,
    hidden ones and sheets that viztool drew left out; with `recursive` also those in folders below), a glob its
    matches (`**` goes into folders below; if some have a picture's suffix, only those), both in natural order: img2
    before img10. "-", the standard input, stays as it is.

    note: is told, in a sentence each, what of a folder is left out though it looks like a picture: folders below with
    pictures in them, and links that lead nowhere.

    Never raises, so that one wrong name does not stop a batch: what leads to no picture (a missing file,
    an empty folder, a glob without a match) stays in the list too, and `read_image` says what is wrong with it.
    """
    if isinstance(paths, str | os.PathLike):  # else its letters would be taken for paths
        paths = [paths]
    found: dict[Path, Path] = {}
    for given in paths:
        for path in _expand(os.fspath(given), recursive, note or _silent) or [Path(given)]:
            found.setdefault(path.absolute(), path)
    return list(found.values())


def pictures_in(folder: Path) -> list[Path]:
    """The picture files of a folder but hidden ones and sheets, in natural order.

    Raises OSError if it cannot be listed.
    """
    seen = (path for path in _pictures_by_name(folder) if path.is_file() and not _is_sheet(path))
    return sorted(seen, key=_key)


def is_glob(name: str) -> bool:
    """Whether `name` has a character that a shell would expand."""
    return glob.has_magic(name)


def _expand(name: str, recursive: bool, note: Callable[[str], object]) -> list[Path]:
    if name == "":  # an unset variable of the shell, not the working folder
        return []
    path = Path(name)
    try:
        if path.is_dir():
            return _in_folder(path, recursive, note)
        if is_glob(name) and not path.exists():  # photo[1].jpg may be a file's own name
            matches = [match for match in map(Path, glob.glob(name, recursive=True)) if match.is_file()]  # noqa: PTH207
            return sorted([match for match in matches if _is_picture(match)] or matches, key=_key)
    except (OSError, ValueError):  # no permission, or no valid path: read_image says so
        pass
    return []


def _in_folder(folder: Path, recursive: bool, note: Callable[[str], object]) -> list[Path]:
    dangling = sorted(path.name for path in _pictures_by_name(folder) if path.is_symlink() and not path.exists())
    if dangling:
        few = ", ".join(map(shown, dangling[:3])) + (", ..." if len(dangling) > 3 else "")
        what = "a link that leads" if len(dangling) == 1 else f"{len(dangling)} links that lead"
        note(f"{shown(folder)}: left out {what} to nothing: {few}")
    inside = _folders_in(folder)
    if not recursive:
        if any(_is_picture(path) and not _is_sheet(path) for path in islice(_below(inside), _ENOUGH)):
            what = "the folder" if len(inside) == 1 else f"the {len(inside)} folders"
            note(f"{shown(folder)}: left out {what} inside; -r takes the pictures in there, too")
        return pictures_in(folder)
    found = pictures_in(folder)
    for inner in inside:
        try:
            found += _in_folder(inner, True, note)
        except OSError as error:
            note(f"{shown(inner)}: left out, it cannot be listed ({reason(error)})")
    return found


def _folders_in(folder: Path) -> list[Path]:
    """Those inside it but hidden ones and links, which may lead back up."""
    inner = (path for path in folder.iterdir() if not path.name.startswith("."))
    return sorted((path for path in inner if path.is_dir() and not path.is_symlink()), key=_key)


def _below(folders: Iterable[Path]) -> Iterator[Path]:
    """Every file in these folders and in those inside, but hidden ones and what cannot be listed."""
    for folder in folders:
        with suppress(OSError):
            yield from (path for path in folder.iterdir() if not path.name.startswith(".") and not path.is_dir())
            yield from _below(_folders_in(folder))


def _silent(note: str) -> None:
    """Nobody is told."""


def _pictures_by_name(folder: Path) -> Iterator[Path]:
    """What is called like a picture, hidden ones left out."""
    return (
        path for path in folder.iterdir() if not path.name.startswith(".") and path.suffix.lower() in PICTURE_SUFFIXES
    )


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
