"""Moving pictures: frames to an endless GIF, or to an MP4 where PyAV is installed (`pip install 'viztool[video]'`)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from viztool.errors import ImageError
from viztool.images.marks import Mark
from viztool.images.writing import atomic_write, check_picture, check_suffix

FILMS = (".gif", ".mp4")
"""The suffixes of a moving picture."""
_COLOURS = 128  # of a GIF's frame: of 256 a film is a third larger, and looks the same
_QUALITY = "16"  # x264's constant rate factor: below 18 one sees no difference


def write_film(
    path: str | os.PathLike[str],
    frames: Sequence[NDArray[np.uint8]],
    milliseconds: int | Sequence[int] = 100,
    *,
    force: bool = True,
    mark: Mark | None = None,
) -> Path:
    """Write frames, uint8 RGB (H, W, 3) of one size, as a film, whole or not at all; the suffix says the kind.

    milliseconds: of each frame, or one for each: 2000 for the last, before a GIF begins again. mark: how it was made.
    Raises ImageError for another suffix, for frames of several sizes, and for an .mp4 without PyAV.

    >>> write_film("training.gif", [maps.picture() for maps in seen_while_it_trained])  # doctest: +SKIP
    """
    target = Path(path)
    suffix = check_suffix(target, FILMS)
    for frame in frames:
        check_picture(frame)
    if len({frame.shape for frame in frames}) != 1:
        raise ImageError(f"a film is of frames of one size; these have {len({frame.shape for frame in frames})}")
    durations = [milliseconds] * len(frames) if isinstance(milliseconds, int) else list(milliseconds)
    note = "" if mark is None else mark.text
    with atomic_write(target, force=force) as file:
        (_mp4 if suffix == ".mp4" else _gif)(file, frames, durations, note)
    return target


def _gif(file: BinaryIO, frames: Sequence[NDArray[np.uint8]], durations: list[int], note: str) -> None:
    first, *others = [Image.fromarray(frame).quantize(_COLOURS, dither=Image.Dither.NONE) for frame in frames]
    told = {"comment": note.encode()} if note else {}
    first.save(file, "GIF", save_all=True, append_images=others, duration=durations, loop=0, **told)


def _mp4(file: BinaryIO, frames: Sequence[NDArray[np.uint8]], durations: list[int], note: str) -> None:
    try:
        import av
    except ImportError:
        raise ImageError("an .mp4 needs PyAV: pip install 'viztool[video]', or write a .gif") from None
    height, width = (side + side % 2 for side in frames[0].shape[:2])  # of halved colours each side must be even
    with av.open(file, "w", format="mp4", options={"movflags": "faststart"}) as container:
        container.metadata["comment"] = note
        stream = container.add_stream("libx264", rate=Fraction(1000), options={"crf": _QUALITY})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        at = 0
        # The last is shown twice: a film ends when its last frame begins.
        for frame, duration in zip([*frames, frames[-1]], [*durations, 0], strict=True):
            padding = ((0, height - frame.shape[0]), (0, width - frame.shape[1]), (0, 0))
            picture = av.VideoFrame.from_ndarray(np.pad(frame, padding, constant_values=255), format="rgb24")
            picture.pts, picture.time_base = at, Fraction(1, 1000)
            container.mux(stream.encode(picture))
            at += duration
        container.mux(stream.encode())
