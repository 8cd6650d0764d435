"""How a file is named in an error, and the suffixes by which pictures are known."""

from __future__ import annotations

import os

PICTURE_SUFFIXES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif"),
    *(".png", ".apng"),
    *(".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
    *(".webp", ".bmp", ".gif", ".avif"),
}

MAKER = "viztool"
"""What the PNG files of sheets name as their software, by which a folder's sheets are told from its photos."""


def shown(path: str | os.PathLike[str]) -> str:
    """`path` as an error message names it: in one line, and printable whatever the file is called."""
    name = os.fsdecode(path)
    return name if name.isprintable() and name else repr(name)


def reason(error: BaseException) -> str:
    """Why something failed, in one line and without the path that the message names already."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__
