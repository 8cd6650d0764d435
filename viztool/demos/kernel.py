"""A kernel of one's own, from text or a file, and a correlation with OpenCV's borders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from viztool.demos.errors import DemoError, DemoSettingError

Array = npt.NDArray[np.float64]

BORDERS = {"reflect-101": "reflect", "reflect": "symmetric", "replicate": "edge", "constant": "constant"}
"""OpenCV's names of what lies beyond the border, and numpy's; reflect-101 is OpenCV's default."""

_HOW = 'write its rows with ; between them, such as "1 0 -1; 2 0 -2; 1 0 -1", or name a file of rows'


def parse_kernel(kernel: str | npt.ArrayLike) -> Array:
    """(h, w) numbers from text, from a file of lines of numbers, or from an array; sides are odd.

    Raises DemoError if it does not parse, is not rectangular, or has an even side.
    """
    values = _of_text(kernel) if isinstance(kernel, str) else np.asarray(kernel, np.float64)
    if values.ndim != 2 or not values.size:
        raise DemoSettingError(f"a kernel has rows and columns, not the shape {values.shape}; {_HOW}")
    height, width = values.shape
    if height % 2 == 0 or width % 2 == 0:
        raise DemoSettingError(f"the kernel is {height} × {width}; give one with odd sides, which has a middle")
    if not np.isfinite(values).all():
        raise DemoSettingError(f"the kernel has values that are not finite; {_HOW}")
    return values


def _of_text(text: str) -> Array:
    source = _content(text)
    lines = [line for line in source.replace(";", "\n").splitlines() if line.strip()]
    rows = [[_number(word, text) for word in line.replace(",", " ").split()] for line in lines]
    if not rows:
        raise DemoSettingError(f"the kernel {text!r} has no numbers; {_HOW}")
    for at, row in enumerate(rows):
        if len(row) != len(rows[0]):
            raise DemoSettingError(
                f"row {at + 1} of the kernel has {len(row)} numbers and row 1 has {len(rows[0])}; {_HOW}"
            )
    return np.array(rows, np.float64)


def _content(text: str) -> str:
    """The text itself, or what is in the file that it names."""
    if "\n" in text or ";" in text:
        return text
    path = Path(text)
    try:
        if path.is_file():
            return path.read_text()
    except (OSError, ValueError) as error:
        raise DemoSettingError(f"the kernel file {text} cannot be read ({type(error).__name__}); {_HOW}") from error
    return text


def _number(word: str, text: str) -> float:
    above, slash, below = word.partition("/")
    try:
        return float(above) / float(below) if slash else float(word)
    except (ValueError, ZeroDivisionError):
        shown = text if len(text) <= 40 else f"{text[:39]}…"
        raise DemoSettingError(f"the kernel {shown!r} does not parse: {word!r} is no number; {_HOW}") from None


def correlate(image: npt.NDArray[np.generic], kernel: Array, border: str = "reflect-101") -> Array:
    """(H, W) of the same size: torch's conv2d, which is a correlation, on the image with this border, in float64.

    Raises DemoError for a border that OpenCV does not have, or a kernel larger than the image.
    """
    if border not in BORDERS:
        raise DemoSettingError(f"no border is called {border!r}; there are {', '.join(BORDERS)}")
    above, left = (side // 2 for side in kernel.shape)
    if above >= image.shape[0] or left >= image.shape[1]:
        sizes = f"{kernel.shape[0]} × {kernel.shape[1]}", f"{image.shape[0]} × {image.shape[1]}"
        raise DemoError(f"the kernel of {sizes[0]} does not fit the photo of {sizes[1]} pixels; give a smaller one")
    mode = BORDERS[border]
    padded = np.pad(image.astype(np.float64), ((above, above), (left, left)), mode)  # type: ignore[call-overload]
    out = F.conv2d(torch.from_numpy(padded)[None, None], torch.from_numpy(kernel.copy())[None, None])
    result: Array = out[0, 0].numpy()
    return result
