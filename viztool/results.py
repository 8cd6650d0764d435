"""What every result can do: be drawn, be saved, and give the numbers behind its picture."""

from __future__ import annotations

import zipfile
from abc import ABC, abstractmethod
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from viztool.images import atomic_write, png_bytes, write_image
from viztool.render.canvas import Canvas, canvas_of
from viztool.render.raster import raster


class Result(ABC):
    """A picture with the numbers that say whether to believe it. In a notebook it shows itself."""

    def drawing(self) -> Canvas:
        """The result, drawn: words as words, pictures as pictures, curves as curves.

        A kind of result has this, or a `picture` of its own.
        """
        return canvas_of(self.picture())

    def picture(self) -> npt.NDArray[np.uint8]:
        """The drawing in pixels: uint8 (H, W, 3) RGB."""
        return raster(self.drawing())

    @property
    @abstractmethod
    def numbers(self) -> dict[str, Any]:
        """Every figure that the picture draws or claims, ready for JSON."""

    @property
    def in_words(self) -> str:
        """What there is to say of it in a line or a few."""
        return type(self).__name__

    @property
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The raw values behind the picture, by name; none if it is made of numbers alone."""
        return {}

    def save(self, path: str | PathLike[str], *, force: bool = True) -> Path:
        """Write the picture, whole or not at all; the suffix says the format. Returns the path.

        Raises ImageError if it cannot be written, or if force is False and the file exists.
        """
        return write_image(path, self.picture(), force=force, is_sheet=True)

    def save_npz(self, path: str | PathLike[str], *, force: bool = True) -> Path:
        """Write `arrays` into one compressed .npz, whole or not at all; as in `save`."""
        target = Path(path)
        # Not numpy.savez, which takes names as keywords: a layer may be called "file", as its first argument is.
        with (
            atomic_write(target, force=force) as file,
            zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        ):
            for name, array in self.arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                    np.lib.format.write_array(entry, array, allow_pickle=False)
        return target

    def _repr_png_(self) -> bytes:
        return png_bytes(self.picture())
