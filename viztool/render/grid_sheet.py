"""A photo, and beside it a picture for each place of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from viztool.render.canvas import Canvas, Size, stack
from viztool.render.colormaps import Picture
from viztool.render.heading import draw_heading
from viztool.render.parts import MARGIN, WIDTH, blank_page, draw_footer
from viztool.render.text import RULE

_GAP = 28
_SIDE = (WIDTH - 2 * MARGIN - _GAP) // 2


def grid_sheet(
    title: str,
    subtitle: str,
    notes: Sequence[str],
    view: Picture,
    cells: Picture,
    strength: npt.NDArray[Any],
    footer: str,
) -> Canvas:
    """Draw the sheet. cells: (rows, columns, s, s, 3); strength: in [0, 1], faded below 1."""
    height, width = view.shape[:2]
    scale = _SIDE / max(height, width)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    page = blank_page(size[0] + 30)
    for x, picture in ((MARGIN, view), (MARGIN + _SIDE + _GAP, _joined(cells, strength))):
        page.image(x, 0, size, partial(_resized, picture), (int(picture.shape[0]), int(picture.shape[1])), smooth=True)
        page.frame(x, 0, size[1], size[0], RULE)
    return stack([draw_heading(title, subtitle, notes), page, draw_footer(footer)])


def _resized(picture: Picture, size: Size) -> Picture:
    way = cv2.INTER_AREA if picture.shape[0] > size[0] else cv2.INTER_CUBIC
    resized: Picture = np.asarray(cv2.resize(picture, size[::-1], interpolation=way), np.uint8)
    return resized


def _joined(cells: Picture, strength: npt.NDArray[Any]) -> Picture:
    """All cells as one picture, each faded towards white as far as its strength is below 1."""
    share = (0.25 + 0.75 * strength)[:, :, None, None, None]
    faded = np.rint(255 - share * (255 - cells.astype(np.float32))).astype(np.uint8)
    rows, columns, h, w = cells.shape[:4]
    joined: Picture = faded.transpose(0, 2, 1, 3, 4).reshape(rows * h, columns * w, 3)
    return joined
