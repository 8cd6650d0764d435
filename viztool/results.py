"""What every result can do: be drawn, be saved, and give the numbers behind its picture."""

from __future__ import annotations

from abc import ABC, abstractmethod
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from viztool.images import png_bytes, write_image


class Result(ABC):
    """A picture with the numbers that say whether to believe it. In a notebook it shows itself."""

    @abstractmethod
    def picture(self) -> npt.NDArray[np.uint8]:
        """The result, drawn: uint8 (H, W, 3) RGB."""

    @property
    @abstractmethod
    def numbers(self) -> dict[str, Any]:
        """Every figure that the picture draws or claims, ready for JSON."""

    def save(self, path: str | PathLike[str], *, force: bool = True) -> Path:
        """Write the picture, whole or not at all; the suffix says the format. Returns the path.

        Raises ImageError if it cannot be written, or if force is False and the file exists.
        """
        return write_image(path, self.picture(), force=force)

    def _repr_png_(self) -> bytes:
        return png_bytes(self.picture())
