"""The photo that a demo works on, in colours and in grey."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import numpy.typing as npt

from viztool.demos.errors import DemoError
from viztool.images import read_image
from viztool.render.colormaps import Picture
from viztool.render.scaling import scaled
from viztool.results import Part

HOPPER = "grace_hopper"
"""The photo of most of the numbers that are known beforehand."""

_PHOTOS = Path(__file__).parent / "photos"
_LEAST = 32  # pixels a side: the demos cut patches and shift by several pixels
_MOST = 640  # pixels of the longer side: every demo stays a matter of seconds


@dataclass(frozen=True, eq=False, repr=False)
class Photo(Part):
    """rgb: uint8 (H, W, 3), at most 640 pixels a side. shrunk: from (height, width), or None if it is as it was.

    is_reference: whether it is the demo's own photo, of which it knows its numbers.
    """

    rgb: Picture
    source: str
    shrunk: tuple[int, int] | None = None
    is_reference: bool = False

    @property
    def grey(self) -> npt.NDArray[np.uint8]:
        """(H, W) uint8, BT.601 luma as OpenCV rounds it."""
        return np.asarray(cv2.cvtColor(self.rgb, cv2.COLOR_RGB2GRAY), np.uint8)

    @property
    def unit(self) -> npt.NDArray[np.float64]:
        """(H, W) `grey` in [0, 1]."""
        return self.grey / 255

    @property
    def size(self) -> str:
        height, width = self.rgb.shape[:2]
        text = f"{width} × {height}"
        return text if self.shrunk is None else f"{text}, shrunk from {self.shrunk[1]} × {self.shrunk[0]}"


def reference_photo(name: str = HOPPER) -> Photo:
    """A photo that demos have numbers of: Grace Hopper, or one of those in `photos/`, by its name."""
    path = reference_path(name)
    return Photo(read_image(path), path.name, is_reference=True)


def reference_path(name: str) -> Path:
    """Where the photo of this name lies."""
    # The first, a photo of the US Navy in the public domain, comes with matplotlib.
    folder = Path(matplotlib.get_data_path()) / "sample_data" if name == HOPPER else _PHOTOS
    return folder / f"{name}.jpg"


def as_photo(photo: Picture | None, source: str = "photo", own: str = HOPPER) -> Photo:
    """photo: uint8 RGB (H, W, 3), or None for the demo's own. Raises DemoError if a side is under 32 pixels."""
    if photo is None:
        return reference_photo(own)
    if not isinstance(photo, np.ndarray) or photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3:
        got = f"{photo.dtype} {photo.shape}" if isinstance(photo, np.ndarray) else type(photo).__name__
        raise DemoError(f"a photo is uint8 RGB (H, W, 3), not {got}; viztool.read_image gives one")
    height, width = (int(side) for side in photo.shape[:2])
    if min(height, width) < _LEAST:
        raise DemoError(
            f"the photo is {width} × {height} pixels, and a demo needs at least {_LEAST} × {_LEAST}; give a larger one"
        )
    scale = _MOST / max(height, width)
    if scale >= 1:
        return Photo(np.ascontiguousarray(photo), source)
    size = max(_LEAST, round(height * scale)), max(_LEAST, round(width * scale))
    return Photo(scaled(photo, size), source, (height, width))
