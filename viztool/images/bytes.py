"""A picture from the bytes of a file that has a name, but perhaps no place on this machine."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from viztool.images.reading import read_image


def decode(content: bytes | NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    """uint8 RGB (H, W, 3); an array is a picture already. Raises ImageError, which calls it by its name."""
    return content if isinstance(content, np.ndarray) else read_image(_Named(content, name))


class _Named(io.BytesIO):
    """Bytes that know what to be called in an error."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name
