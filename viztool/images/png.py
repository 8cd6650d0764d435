"""The bytes of a PNG, three times as fast as Pillow writes them.

Pillow tries five filters on every row and takes the best. One will do: a row less the one above it is nothing where
cells are larger than a pixel and where the page is empty, and little in a photo. On contact sheets and heatmaps the
files are 2 to 15 % larger, and as they are read by everybody, the pixels are the same.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_UP = 2  # PNG specification, 9.2: filter type 2, the difference from the row above
_RGB = 2  # PNG specification, 11.2.2: colour type 2
_LEVEL = 1  # of zlib; 4 takes twice as long for 2 to 5 % of the size


def png(picture: NDArray[np.uint8], said: Mapping[str, str]) -> bytes:
    """A picture, uint8 RGB (H, W, 3), as a file's content. said: texts in Latin-1, by their keywords."""
    height, width, _ = picture.shape
    rows = picture.reshape(height, width * 3)
    filtered = np.empty((height, 1 + width * 3), np.uint8)
    filtered[:, 0] = _UP
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, _RGB, 0, 0, 0)),
        *((b"tEXt", b"\0".join((name.encode("latin-1"), text.encode("latin-1")))) for name, text in said.items()),
        (b"IDAT", zlib.compress(filtered.data, _LEVEL)),
        (b"IEND", b""),
    ]
    return _SIGNATURE + b"".join(_chunk(kind, content) for kind, content in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))
