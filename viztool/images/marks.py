"""What a file of viztool's says of itself: that it is one, and how it was made.

A PNG has it as a text chunk, an SVG, a PDF and a page as metadata, a GIF and a JPEG as their comment, a WebP in its
EXIF, an .npz as the comment of the archive. By it a picture that is drawn again is told from one that somebody else
made.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field, replace
from html import unescape
from pathlib import Path
from typing import Any, BinaryIO

from viztool import __version__
from viztool.images.naming import MAKER
from viztool.images.pillow import identify, strict_pillow

SOFTWARE, DESCRIPTION = 0x0131, 0x010E
"""The EXIF tags that a WebP has the maker and the mark in."""
_LONGEST = 2000  # letters of a command: a shell makes one of thousands of photos
_SVG_HEAD = 1 << 16  # bytes that the metadata of a drawing of ours lies in
_SVG_MARK = re.compile(r'<metadata id="viztool">(.*?)</metadata>|<meta name="viztool" content="([^"]*)">', re.DOTALL)
_PDF_MARK = re.compile(rb"/Keywords\s*\(((?:[^\\()]|\\.)*)\)", re.DOTALL)


@dataclass(frozen=True)
class Mark:
    """How a file was made. command: as it was typed, None if from Python. digest: of its numbers, None if it has none.

    viztool: the version; "" in a picture of the days before pictures said more than their maker.
    """

    viztool: str
    command: str | None = None
    seed: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    digest: str | None = None

    @property
    def text(self) -> str:
        """As JSON, in ASCII."""
        return json.dumps(asdict(self))


_origin: ContextVar[tuple[str | None, int | None]] = ContextVar("origin", default=(None, None))


@contextmanager
def signed_by(command: str | None, seed: int | None) -> Iterator[None]:
    """Files that are written inside the block (in this thread, or a copy of its context) are this command's."""
    token = _origin.set((command, seed))
    try:
        yield
    finally:
        _origin.reset(token)


def mark_of(numbers: Mapping[str, Any] | None = None) -> Mark:
    """The mark of a file that shows these numbers, those of a result; or of one that shows none."""
    command, seed = _origin.get()
    if command is not None and len(command) > _LONGEST:
        command = f"{command[:_LONGEST]} …"
    mark = Mark(__version__, command, seed, {"viztool": __version__})
    if numbers is None:
        return mark
    own = numbers.get("seed", numbers.get("settings", {}).get("seed"))
    return replace(
        mark,
        seed=seed if own is None else own,
        versions={**mark.versions, **numbers.get("versions", {})},
        digest=digest(numbers),
    )


def digest(numbers: Mapping[str, Any]) -> str:
    """The SHA-256 of numbers as JSON with sorted keys and no spaces."""
    text = json.dumps(numbers, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def read_mark(path: str | os.PathLike[str]) -> Mark | None:
    """What the file says of how viztool made it; None if viztool did not. Its content decides, not its suffix.

    Raises OSError if it cannot be read.
    """
    with Path(path).open("rb") as file:
        head = file.read(16)
        file.seek(0)
        if head.startswith(b"%PDF"):
            return _parsed(_pdf_note(file.read()))
        if head[4:8] == b"ftyp":
            return _parsed(_film_note(file.read()))
        if head.startswith(b"PK"):
            return _parsed(_archive_note(file))
        if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
            found = _SVG_MARK.search(file.read(_SVG_HEAD).decode("utf-8", "replace"))
            return _parsed(None if found is None else unescape(found[1] or found[2]))
        return _of_picture(file)


def _of_picture(file: BinaryIO) -> Mark | None:
    try:
        with strict_pillow():
            picture = identify(file)
            if picture is None:
                return None
            info = picture.info
            note = info.get(MAKER) or info.get("comment")
            if picture.format == "WEBP":
                note = picture.getexif().get(DESCRIPTION)
    except Exception:  # on damaged bytes decoders raise anything; and what is damaged is not ours to replace
        return None
    found = _parsed(note.decode("utf-8", "replace") if isinstance(note, bytes) else note)
    # Before there were marks, sheets named their maker and nothing else.
    return Mark("") if found is None and info.get("Software") == MAKER else found


def _pdf_note(content: bytes) -> str | None:
    found = _PDF_MARK.findall(content)
    return re.sub(rb"\\(.)", rb"\1", found[-1], flags=re.DOTALL).decode("latin-1") if found else None


def _film_note(content: bytes) -> str | None:
    """The comment of an MP4: a box that is named so, with its data in a box inside."""
    at = content.find(b"\xa9cmt")
    if at < 0:
        return None
    size = int.from_bytes(content[at + 4 : at + 8], "big")
    return content[at + 20 : at + 4 + size].decode("utf-8", "replace")


def _archive_note(file: BinaryIO) -> str | None:
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.comment.decode("utf-8", "replace")
    except (zipfile.BadZipFile, NotImplementedError):
        return None


def _parsed(note: object) -> Mark | None:
    if not isinstance(note, str):
        return None
    try:
        found = json.loads(note)
    except ValueError:
        return None
    if not isinstance(found, dict) or not isinstance(found.get("viztool"), str):
        return None
    return Mark(**{name: found[name] for name in Mark.__dataclass_fields__ if name in found})
