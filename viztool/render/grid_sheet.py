"""A photo, and beside it a picture for each place of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

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
) -> Picture:
    """Draw the sheet: uint8 (H, 1340, 3) RGB. cells: (rows, columns, s, s, 3); strength: in [0, 1], faded below 1."""
    height, width = view.shape[:2]
    scale = _SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    page = blank_page(size[1] + 30)
    for x, picture in ((MARGIN, view), (MARGIN + _SIDE + _GAP, _joined(cells, strength))):
        way = cv2.INTER_AREA if picture.shape[0] > size[1] else cv2.INTER_CUBIC
        page[: size[1], x : x + size[0]] = cv2.resize(picture, size, interpolation=way)
        cv2.rectangle(page, (x, 0), (x + size[0] - 1, size[1] - 1), RULE, 1)
    return np.concatenate([draw_heading(title, subtitle, notes), page, draw_footer(footer)])


def _joined(cells: Picture, strength: npt.NDArray[Any]) -> Picture:
    """All cells as one picture, each faded towards white as far as its strength is below 1."""
    share = (0.25 + 0.75 * strength)[:, :, None, None, None]
    faded = np.rint(255 - share * (255 - cells.astype(np.float32))).astype(np.uint8)
    rows, columns, h, w = cells.shape[:4]
    joined: Picture = faded.transpose(0, 2, 1, 3, 4).reshape(rows * h, columns * w, 3)
    return joined
