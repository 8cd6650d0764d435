"""How pictures grow: a film of an ascent."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path

import cv2
import numpy as np

from viztool.errors import ViztoolError
from viztool.images import mark_of, write_film, write_image
from viztool.kernels.ascent import Progress
from viztool.kernels.pixels import to_pixels
from viztool.render.colormaps import Picture
from viztool.render.text import TINY, draw_text, fit

_MILLISECONDS = 90
_LAST = 1500
_GAP = 8
_STRIP = 18
_SIDE = 256
"""Of a picture in the film, in pixels."""


def spaced(steps: int, frames: int = 24) -> list[int]:
    """So many of the steps, closer at the start, where most happens."""
    return sorted({max(1, round(share * steps)) for share in np.linspace(0, 1, frames) ** 2})


class Growth:
    """A callback for `visualize_kernels` and `maximize` that keeps some steps of the ascent.

    wanted: which steps; see `spaced`. every: keep one picture of so many; 2 leaves out the negatives.
    """

    def __init__(self, wanted: Iterable[int], *, every: int = 1) -> None:
        self.wanted = sorted(set(wanted))
        self._every = every
        self._films: dict[int, list[Picture]] = {}

    def __call__(self, progress: Progress) -> None:
        """Keep what the pictures look like, if this is such a step."""
        if progress.step not in self.wanted:
            return
        for index, image in zip(progress.indices, progress.images(), strict=True):
            if index % self._every == 0:
                self._films.setdefault(index, []).append(to_pixels(image))

    def frames(self, labels: Sequence[str] = ()) -> list[Picture]:
        """All pictures side by side, as a film: (H, W, 3). One that ended early stays as it was at last.

        labels: of each picture, which stand under it.
        """
        if not self._films:
            raise ViztoolError("there is nothing to film: no picture was made in this run")
        films = [self._films[index] for index in sorted(self._films)]
        columns = math.ceil(math.sqrt(len(films) * 1.6))
        h, w = _enlarged(films[0][0]).shape[:2]
        strip = _STRIP if labels else 0
        rows = math.ceil(len(films) / columns)
        frames = []
        for at in range(max(map(len, films))):
            canvas = np.full((rows * (h + strip + _GAP) - _GAP, columns * (w + _GAP) - _GAP, 3), 255, np.uint8)
            for number, film in enumerate(films):
                y, x = number // columns * (h + strip + _GAP), number % columns * (w + _GAP)
                canvas[y : y + h, x : x + w] = _enlarged(film[min(at, len(film) - 1)])
                if number < len(labels):
                    draw_text(canvas, fit(labels[number], w, TINY), x + 1, y + h + _STRIP - 5, TINY)
            frames.append(canvas)
        return frames

    def save(self, path: str | PathLike[str], *, labels: Sequence[str] = (), force: bool = True) -> Path:
        """Write the film, an endless .gif or an .mp4, the step under each frame, whole or not at all."""
        counted = zip(self.wanted, self.frames(labels), strict=False)
        frames = [_with_step(frame, step) for step, frame in counted]
        durations = [_MILLISECONDS] * (len(frames) - 1) + [_LAST]
        return write_film(path, frames, durations, force=force, mark=mark_of())

    def save_frames(self, folder: str | PathLike[str], *, force: bool = True) -> list[Path]:
        """Write each frame as a PNG with its step in the name."""
        mark = mark_of()
        steps = zip(self.wanted, self.frames(), strict=False)  # if all ended early, the last steps have none
        return [
            write_image(Path(folder) / f"step_{step:05d}.png", frame, force=force, mark=mark) for step, frame in steps
        ]


def _enlarged(picture: Picture) -> Picture:
    """As large as one sees well: the few pixels that a unit of a first layer sees as squares."""
    scale = _SIDE / max(picture.shape[:2])
    size = (round(picture.shape[1] * scale), round(picture.shape[0] * scale))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST if scale > 8 else cv2.INTER_CUBIC))


def _with_step(frame: Picture, step: int) -> Picture:
    strip = np.full((_STRIP, frame.shape[1], 3), 255, np.uint8)
    draw_text(strip, fit(f"step {step}", frame.shape[1], TINY), 1, _STRIP - 5, TINY)
    return np.concatenate([frame, strip])
