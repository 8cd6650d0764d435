"""What a file is that is no picture: often something else under a picture's name."""

from __future__ import annotations

import codecs

HEAD = 512
"""How many bytes at the start of a file are enough."""

# (offset, bytes there, what it is)
_MARKS = [
    (0, b"%PDF", "a PDF document"),
    (0, b"%!PS", "a PostScript document"),
    (0, b"8BPS", "a Photoshop document"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"\x89HDF", "an HDF5 file"),
    (0, b"\xff\x0a", "a JPEG XL picture"),
    (4, b"jP  ", "a JPEG 2000 picture"),
    (4, b"JXL ", "a JPEG XL picture"),
    (4, b"ftypavif", "an AVIF picture"),
    (4, b"ftyphei", "a HEIC photo"),
    (4, b"ftypmif1", "a HEIC photo"),
    (4, b"ftyp", "a video"),
    (8, b"AVI ", "a video"),
    (0, b"\x1aE\xdf\xa3", "a video"),
    (0, b"version https://git-lfs", "a Git LFS pointer in place of the file (`git lfs pull` fetches it)"),
]


def kind_of_file(head: bytes) -> str | None:
    """What a file that starts with `head` is, for a sentence: "a PDF document", "text"; None if it is not known."""
    for offset, mark, kind in _MARKS:
        if head.startswith(mark, offset):
            return kind
    text = _as_text(head)
    if text is None:
        return None
    start = text.lstrip("\ufeff \t\r\n").lower()
    if start.startswith(("<!doctype html", "<html")):
        return "a web page"
    return "an SVG drawing" if "<svg" in start else "text"


def _as_text(head: bytes) -> str | None:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # which may end inside a character
    except UnicodeDecodeError:
        return None
    return text if all(letter.isprintable() or letter in "\ufeff\t\r\n\f" for letter in text) else None
