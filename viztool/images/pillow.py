"""Pillow without its global settings: which file it is, decoded strictly, without stray warnings."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import BinaryIO

from PIL import Image, ImageFile

# Only these: of Pillow's other decoders some start programs (EPS) or pass a truncated file (JPEG 2000).
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "AVIF")


class CannotOpenError(Exception):
    """A file has the mark of a format, and its header cannot be read."""

    def __init__(self, format: str, why: Exception) -> None:
        # Pillow's words for a size of 0 and for a header that ends before the size
        unsized = str(why) == "not identified by this driver"
        super().__init__("its header gives no size" if unsized else str(why))
        self.format = format


def identify(stream: BinaryIO) -> ImageFile.ImageFile | None:
    """The picture in `stream`, its header read and no pixel decoded yet; None if it is no known format.

    Content decides, not the name. Raises CannotOpenError. `Image.open` would apply one limit on the size for
    the whole process, with a warning below it; here the caller compares `.size` with a limit of its own.
    """
    prefix = stream.read(16)
    for load_plugins in (Image.preinit, Image.init):  # the first loads the five commonest in half the time
        load_plugins()
        for name in _FORMATS:
            if name not in Image.OPEN:
                continue
            factory, accept = Image.OPEN[name]
            try:
                # a text in place of False says that this build of Pillow lacks the decoder
                if accept is None or accept(prefix) is not True:
                    continue
                stream.seek(0)
                return factory(stream, "")
            except Exception as error:  # on damaged bytes decoders raise anything
                raise CannotOpenError(name, error) from error
    return None


_lock = threading.Lock()
_open_blocks = 0
_restore = ExitStack()


@contextmanager
def strict_pillow() -> Iterator[None]:
    """Inside, Pillow raises on truncated files and keeps its warnings (on odd metadata) to itself.

    Programs that train set LOAD_TRUNCATED_IMAGES, and then the missing part of a picture comes out grey.
    Both settings are one per process, so blocks that overlap in several threads share them: the first sets
    them and the last puts them back.
    """
    global _open_blocks
    with _lock:
        if _open_blocks == 0:
            _restore.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", module=r"PIL\.")
            _restore.callback(setattr, ImageFile, "LOAD_TRUNCATED_IMAGES", ImageFile.LOAD_TRUNCATED_IMAGES)
            ImageFile.LOAD_TRUNCATED_IMAGES = False
        _open_blocks += 1
    try:
        yield
    finally:
        with _lock:
            _open_blocks -= 1
            if _open_blocks == 0:
                _restore.close()
