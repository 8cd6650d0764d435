"""A canvas as pixels, by numpy and OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from viztool.render.canvas import Area, Canvas, Curve, Disc, Drawn, Fill, Frame, Image, Line, Placed, Points, Text
from viztool.render.colormaps import Picture
from viztool.render.text import Color, draw_text

_SHIFT = 4  # bits behind the point, of the coordinates of smooth lines


def raster(canvas: Canvas) -> Picture:
    """The canvas, drawn: uint8 (H, W, 3) RGB."""
    page = np.full((canvas.height, canvas.width, 3), 255, np.uint8)
    _draw_all(page, canvas)
    return page


def _draw_all(page: Picture, canvas: Canvas) -> None:
    for drawn in canvas.drawn:
        _draw(page, drawn)


def _draw(page: Picture, drawn: Drawn) -> None:
    match drawn:
        case Placed(x, y, canvas):
            part = page[y : y + canvas.height, x : x + canvas.width]
            part[:] = 255
            _draw_all(part, canvas)
        case Text(text, x, baseline, style):
            draw_text(page, text, x, baseline, style)
        case Image(x, y, (height, width), draw):
            page[y : y + height, x : x + width] = draw((height, width))
        case Fill(x, y, width, height, color):
            page[y : y + height, x : x + width] = color
        case Frame(x, y, width, height, color, thickness):
            cv2.rectangle(page, (x, y), (x + width - 1, y + height - 1), color, thickness)
        case Line(start, end, color, smooth):
            cv2.line(page, start, end, color, 1, cv2.LINE_AA if smooth else cv2.LINE_8)
        case Curve(points, color, thickness):
            cv2.polylines(page, [_shifted(points)], False, color, thickness, cv2.LINE_AA, _SHIFT)
        case Area(points, color):
            _tint(page, _shifted(points), color)
        case Disc(x, y, radius, color):
            centre = _shifted(np.array([[x, y]]))[0]
            cv2.circle(page, (int(centre[0]), int(centre[1])), radius << _SHIFT, color, -1, cv2.LINE_AA, _SHIFT)


def _shifted(points: Points) -> npt.NDArray[np.int32]:
    rounded: npt.NDArray[np.int32] = np.rint(points * 2**_SHIFT).astype(np.int32)
    return rounded


def _tint(page: Picture, outline: npt.NDArray[np.int32], color: Color) -> None:
    mask = np.zeros(page.shape[:2], np.uint8)
    cv2.fillPoly(mask, [outline], 255, cv2.LINE_AA, _SHIFT)
    share = 0.2 * mask[..., None].astype(np.float32) / 255
    glass = 1 - share * (1 - np.array(color, np.float32) / 255)
    page[:] = np.rint(page * glass).astype(np.uint8)
