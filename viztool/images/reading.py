"""Read a picture, whatever kind it is, or say in one line why not."""

from __future__ import annotations

import difflib
import io
import itertools
import os
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from viztool.errors import ImageError
from viztool.images.finding import is_glob, pictures_in
from viztool.images.naming import reason, shown
from viztool.images.pillow import CannotOpenError, identify, strict_pillow
from viztool.images.pixels import to_rgb
from viztool.images.sniffing import HEAD, kind_of_file

MAX_PIXELS = 150_000_000
"""Larger pictures are refused unless asked for: decoding takes 10 to 22 bytes a pixel, at most 3.3 GB at this size."""

_USE = "use JPEG, PNG, WebP, BMP, TIFF or GIF"


def read_image(source: str | os.PathLike[str] | bytes | BinaryIO, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """The picture in a file, in bytes, or in a binary stream (read from its beginning).

    Returns uint8 RGB (H, W, 3), contiguous and writable, turned upright by its Exif orientation. JPEG, PNG,
    WebP, BMP, TIFF and GIF (also PPM, and AVIF where Pillow has it), told apart by content, not by name.
    The first frame or page; grey, palette, CMYK, 16 bits and floats of [0, 1] become RGB; transparency
    shows white; colour profiles are not applied.

    Raises ImageError, in one line that names the file, when it is missing, empty, truncated, damaged, no
    picture, or larger than `max_pixels` (checked before any pixel is decoded).
    """
    with ExitStack() as stack:
        name, stream = _open(source, stack)
        stream, head = _rewound(stream, name)
        stack.enter_context(strict_pillow())
        try:
            picture = identify(stream)
        except CannotOpenError as error:
            raise ImageError(_not_opened(error, head, name)) from error
        if picture is None:
            raise ImageError(_not_a_picture(head, name))
        width, height = picture.size
        if width * height > max_pixels:
            raise ImageError(
                f"{name} has {width} × {height} = {width * height:,} pixels, more than the limit of {max_pixels:,}; "
                "shrink it, or raise max_pixels if you trust it"
            )
        try:
            picture.load()
            return to_rgb(picture, name)
        except ImageError:
            raise
        except MemoryError as error:
            raise ImageError(f"{name} has {width} × {height} pixels, too many for the memory; shrink it") from error
        except Exception as error:  # on damaged bytes decoders raise anything
            raise ImageError(f"{name} is truncated or damaged ({reason(error)}); copy or download it again") from error


def _open(source: object, stack: ExitStack) -> tuple[str, BinaryIO]:
    """The name for errors, and the stream to read, which `stack` closes if it was opened here."""
    if isinstance(source, str | os.PathLike):
        name = shown(source)
        return name, _open_path(Path(source), name, stack)
    if isinstance(source, bytes | bytearray | memoryview):
        return "<bytes>", io.BytesIO(source)
    if hasattr(source, "read"):
        label = getattr(source, "name", None)
        name = shown(label) if isinstance(label, str) else "<stream>"
        if isinstance(source, io.TextIOBase):
            raise ImageError(f"{name} is open as text; open it in binary mode, 'rb'")
        return name, cast(BinaryIO, source)
    raise ImageError(f"a picture is read from a path, bytes or a binary stream, not from {type(source).__name__}")


def _open_path(path: Path, name: str, stack: ExitStack) -> BinaryIO:
    try:
        if path.is_dir():
            raise ImageError(_is_folder(path, name))
        return stack.enter_context(path.open("rb"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ImageError(_missing(path, name)) from error
    except (OSError, ValueError) as error:
        raise ImageError(f"{name} cannot be read: {reason(error)}") from error


def _rewound(stream: BinaryIO, name: str) -> tuple[BinaryIO, bytes]:
    """The stream at its beginning (in memory if it is a pipe), and its first bytes."""
    try:
        try:
            stream.seek(0)
        except (AttributeError, OSError):  # io.UnsupportedOperation is an OSError
            stream = io.BytesIO(stream.read())
        head = stream.read(HEAD)
        stream.seek(0)
    except (OSError, ValueError) as error:
        raise ImageError(f"{name} cannot be read: {reason(error)}") from error
    if not head:
        raise ImageError(f"{name} is empty")
    return stream, head


def _is_folder(path: Path, name: str) -> str:
    if pictures_in(path):
        return f"{name} is a folder; name a picture in it"
    return f"{name} is a folder with no picture in it; {_USE}"


def _missing(path: Path, name: str) -> str:
    if "://" in name:
        return f"{name} is a web address; download the picture and give its file"
    if is_glob(name):
        return f"no picture matches {name}"
    if path.is_symlink():
        return f"{name} is a link to a file that is not there"
    similar = None
    with suppress(OSError):
        if not path.parent.is_dir():
            return f"no such file: {name} (there is no folder {shown(path.parent)})"
        # one entry in a folder of millions is not worth the wait
        names = [entry.name for entry in itertools.islice(path.parent.iterdir(), 10_000)]
        by_lower = {other.lower(): other for other in names}
        close = difflib.get_close_matches(path.name.lower(), by_lower, n=1)
        similar = by_lower[close[0]] if close else None
    return f"no such file: {name}" + (f"; did you mean {shown(path.with_name(similar))}?" if similar else "")


def _not_a_picture(head: bytes, name: str) -> str:
    kind = kind_of_file(head)
    return f"{name} is {kind}; {_USE}" if kind else f"{name} is not a picture that viztool can read; {_USE}"


def _not_opened(error: CannotOpenError, head: bytes, name: str) -> str:
    if kind_of_file(head):  # some formats start with two letters, as a text may
        return _not_a_picture(head, name)
    return (
        f"{name} cannot be opened as {error.format} ({reason(error)}): it is truncated, damaged or of a rare kind; "
        "copy it again, or save it as PNG"
    )
