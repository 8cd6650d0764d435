"""Write pictures and other files whole, or not at all."""

from __future__ import annotations

import io
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from viztool.errors import ImageError
from viztool.images.marks import DESCRIPTION, SOFTWARE, Mark, read_mark
from viztool.images.naming import MAKER, reason, shown
from viztool.images.png import png

_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
_SETTINGS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 92, "subsampling": "4:4:4"},  # halved colour resolution blurs thin coloured lines and heatmaps
    "WEBP": {"quality": 92},
}
SUFFIXES = tuple(_FORMATS)
"""Of the files that a picture in pixels can be."""
_LONGEST_SIDE = {"JPEG": 65_500, "WEBP": 16_383}  # libjpeg's JPEG_MAX_DIMENSION, libwebp's WEBP_MAX_DIMENSION


def write_image(
    path: str | os.PathLike[str],
    picture: NDArray[np.uint8],
    *,
    force: bool = True,
    is_sheet: bool = False,
    mark: Mark | None = None,
) -> Path:
    """Write a picture, uint8 RGB (H, W, 3), as PNG, JPEG or WebP by the suffix of `path`; returns `path`.

    Whole or not at all, and with `force=False` never over anybody else's file: see `atomic_write`. is_sheet: a PNG says
    that it was drawn here, so that `find_images` does not take it for a photo of the folder it lies in. mark: how it
    was made, said in the file.
    Raises ImageError for another suffix, another array, or a file that cannot be written.
    """
    path = Path(path)
    suffix = check_suffix(path, SUFFIXES)
    check_picture(picture)
    limit = _LONGEST_SIDE.get(_FORMATS[suffix])
    if limit is not None and max(picture.shape) > limit:
        height, width, _ = picture.shape
        raise ImageError(
            f"{shown(path)} would be {width} × {height}, and a {suffix} has at most {limit} pixels a side; write .png"
        )
    with atomic_write(path, force=force) as file:
        file.write(_encode(picture, _FORMATS[suffix], is_sheet, mark))
    return path


def check_suffix(path: Path, suffixes: Sequence[str]) -> str:
    """The suffix of `path` in small letters. Raises ImageError if it is none of those."""
    suffix = path.suffix.lower()
    if suffix not in suffixes:
        has = f"the suffix {suffix}" if suffix else "no suffix"
        raise ImageError(f"{shown(path)} has {has}; a picture is written as {', '.join(suffixes)}")
    return suffix


def png_bytes(picture: NDArray[np.uint8]) -> bytes:
    """A picture, uint8 RGB (H, W, 3), as the content of a PNG file. Raises ImageError for another array."""
    check_picture(picture)
    return _encode(picture, "PNG")


def check_picture(picture: object) -> None:
    """Raise ImageError unless `picture` is uint8 RGB (H, W, 3) with at least one pixel."""
    if not isinstance(picture, np.ndarray):
        got = type(picture).__name__
    elif picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or picture.size == 0:
        got = f"{picture.dtype} {picture.shape}"
    else:
        return
    raise ImageError(f"a picture to write is an array of uint8 (H, W, 3), RGB, not {got}")


def _encode(picture: NDArray[np.uint8], format: str, is_sheet: bool = False, mark: Mark | None = None) -> bytes:
    if format == "PNG":
        software = {"Software": MAKER} if is_sheet else {}
        return png(picture, software if mark is None else software | {MAKER: mark.text})
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format, **_SETTINGS[format], **_told(format, mark))
    return buffer.getvalue()


def _told(format: str, mark: Mark | None) -> dict[str, Any]:
    """What the file says of itself, as Pillow's keywords."""
    if mark is None:
        return {}
    if format == "WEBP":
        exif = Image.Exif()
        exif[SOFTWARE], exif[DESCRIPTION] = MAKER, mark.text
        return {"exif": exif}
    return {"comment": mark.text.encode()}


@contextmanager
def atomic_write(path: str | os.PathLike[str], *, force: bool = True) -> Iterator[BinaryIO]:
    """A binary file to write inside the block; it takes its place at `path` when the block has ended well.

    If anything fails, Ctrl-C included, what was at `path` is untouched and nothing is left beside it.
    Missing folders are made. A link stays, and what it leads to is replaced; a replaced file's permissions
    stay. Into a device or a pipe is written directly. With `force=False` only a file is replaced that says that
    viztool made it; no other, not even one that appears meanwhile.

    Raises ImageError if the file exists and may not be replaced, or cannot be written (no room, no permission).
    """
    name = shown(path)
    in_block = False
    try:
        if _is_device(Path(path)):
            with Path(path).open("wb") as device:
                in_block = True
                yield device
            return
        target = Path(os.path.realpath(path))
        if target.is_dir():
            raise ImageError(f"{name} is a folder; name a file in it")
        if not force:
            refuse_others(target, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".viztool-{secrets.token_hex(8)}.tmp")
        try:
            with temporary.open("xb") as file:  # unlike tempfile's, with the permissions of any new file
                in_block = True
                yield file
            in_block = False
            if force or is_ours(target):
                _replace(target, temporary)
            else:
                _put_new(target, temporary, name)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        if in_block and error.filename is not None:  # the caller's own error, about another file
            raise
        why = f"{shown(error.filename)} is not a folder" if isinstance(error, FileExistsError) else reason(error)
        raise ImageError(f"{name} cannot be written ({why}); write elsewhere with -o") from error


def refuse_others(path: str | os.PathLike[str], name: str | None = None) -> None:
    """Raise ImageError if there is a file, and not one that viztool made. name: what to call it."""
    if Path(path).is_file() and not is_ours(path):
        raise ImageError(_exists(shown(path) if name is None else name))


def is_ours(path: str | os.PathLike[str]) -> bool:
    """Whether there is a file that says that viztool made it."""
    try:
        return Path(path).is_file() and read_mark(path) is not None
    except OSError:  # what cannot be read cannot be known
        return False


def _is_device(path: Path) -> bool:
    return path.exists() and not path.is_file() and not path.is_dir()


def _exists(name: str) -> str:
    return f"{name} exists; use --force to replace it or -o to write elsewhere"


def _replace(target: Path, temporary: Path) -> None:
    with suppress(FileNotFoundError):
        shutil.copymode(target, temporary)
    temporary.replace(target)


def _put_new(target: Path, temporary: Path, name: str) -> None:
    """Raises ImageError if the file is there by now: both ways to take its name fail on an existing one."""
    try:
        try:
            target.hardlink_to(temporary)
        except OSError:  # perhaps a file system without hard links: take the name, then fill it
            target.open("xb").close()
            temporary.replace(target)
    except FileExistsError as error:
        raise ImageError(_exists(name)) from error
