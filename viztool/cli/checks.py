"""What can be wrong with options whatever the photo: said before the first one, not once for each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from viztool.errors import ImageError, ViztoolError

if TYPE_CHECKING:
    from viztool.cli.batch import Job
    from viztool.models.model import Model
    from viztool.render.colormaps import Picture


def check_layers(model: Model, patterns: Iterable[str]) -> None:
    """Raise LayerError, with the nearest names, for a pattern that names no layer."""
    from viztool.hooks.naming import named_layers, unwrap
    from viztool.hooks.select import STAGES, select

    layers = named_layers(unwrap(model))
    for pattern in patterns:
        if pattern != STAGES:
            select(layers, pattern)


def check_box(box: Sequence[float], jobs: Iterable[Job]) -> None:
    """Raise ViztoolError for a photo that the box does not lie in. What cannot be read says so in its turn."""
    from viztool.cli.batch import STDIN

    for job in jobs:
        if job.photo != STDIN:  # which can be read but once
            with suppress(ImageError):
                require_inside(box, job.read(), job.source)


def require_inside(box: Sequence[float], photo: Picture, source: str) -> None:
    """Raise ViztoolError unless the box lies in the photo."""
    height, width = photo.shape[:2]
    left, top, right, bottom = box
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise BoxError(
            f"--box {','.join(f'{side:g}' for side in box)} does not lie in {source}, which is {width} × {height} "
            "pixels; it is LEFT,TOP,RIGHT,BOTTOM"
        )


class BoxError(ViztoolError):
    """A box is not in its photo."""
