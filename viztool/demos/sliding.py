"""One kernel sliding over one small input, step by step: a convolution or a transposed one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from viztool.demos.errors import DemoSettingError
from viztool.demos.kernel import Array
from viztool.demos.photo import Photo
from viztool.demos.signal import blocks
from viztool.render.canvas import Canvas
from viztool.render.colormaps import Picture
from viztool.render.grids import Equation, Grid
from viztool.render.numbers import number
from viztool.render.raster import raster
from viztool.render.text import HEADING, INK, RULE, SMALL, TITLE, Style, text_width

_LARGEST = 16
_FRAME_WIDTH = 960
_FRAME_TOP = 72
_MOST_FRAMES = 60
_SUM = 120  # room for the sum behind the products
_WHITE = 99  # of two digits: larger numbers would not fit the cells
_BLOCK = 8  # pixels of the photo a side that become one number


@dataclass(frozen=True, eq=False)
class Sliding:
    """image: (h, w) whole numbers. kernel: (f, f) as it is given to torch."""

    image: Array
    kernel: Array
    stride: int
    padding: int
    dilation: int
    transposed: bool

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "transposed": self.transposed,
        }

    def canvas(self) -> Array:
        """What the kernel slides over: the image in zeros; in a transposed convolution with zeros between pixels."""
        if not self.transposed:
            return np.pad(self.image, self.padding)
        h, w = self.image.shape
        spread = np.zeros(((h - 1) * self.stride + 1, (w - 1) * self.stride + 1))
        spread[:: self.stride, :: self.stride] = self.image
        edge = self.dilation * (self.kernel.shape[0] - 1) - self.padding
        return np.pad(spread, edge)

    @property
    def weights(self) -> Array:
        """The kernel as it slides: flipped in a transposed convolution."""
        return self.kernel[::-1, ::-1] if self.transposed else self.kernel

    @property
    def step(self) -> int:
        return 1 if self.transposed else self.stride

    def shape(self) -> tuple[int, int]:
        """Of the output."""
        reach = self.dilation * (self.kernel.shape[0] - 1)
        h, w = self.canvas().shape
        return (h - reach - 1) // self.step + 1, (w - reach - 1) // self.step + 1

    def cells(self, row: int, column: int) -> list[tuple[int, int]]:
        """The cells of the canvas that lie under the kernel for this output."""
        offsets = [self.dilation * at for at in range(self.kernel.shape[0])]
        return [(row * self.step + down, column * self.step + across) for down in offsets for across in offsets]

    def under(self, row: int, column: int) -> tuple[Array, Array]:
        """The pixels under the kernel for this output, and the weights that they are multiplied with."""
        canvas = self.canvas()
        patch = np.array([canvas[cell] for cell in self.cells(row, column)]).reshape(self.kernel.shape)
        return patch, self.weights

    def output(self) -> Array:
        """Every output by the sum of its products."""
        height, width = self.shape()
        sums = [
            float((np.multiply(*self.under(row, column))).sum()) for row in range(height) for column in range(width)
        ]
        return np.array(sums).reshape(height, width)

    def by_torch(self) -> Array:
        """The same by torch."""
        x = torch.from_numpy(self.image)[None, None]
        w = torch.from_numpy(self.kernel.copy())[None, None]
        run = F.conv_transpose2d if self.transposed else F.conv2d
        out = run(x, w, stride=self.stride, padding=self.padding, dilation=self.dilation)
        result: Array = out[0, 0].numpy()
        return result

    def frames(self) -> list[Picture]:
        """The kernel over the input, the products, the outputs so far; of many outputs at most 60, evenly chosen."""
        values, canvas = self.output(), self.canvas()
        cell = max(_room(values), min(40, (_FRAME_WIDTH - 120) // (canvas.shape[1] + values.shape[1])))
        under = raster(Grid(canvas, white=_WHITE, cell=cell, blank=tuple(self.zeros())).draw_cells())
        over = raster(Grid(values, form=".4g", cell=cell).draw_cells())
        steps = dict.fromkeys(round(step) for step in np.linspace(0, values.size - 1, min(values.size, _MOST_FRAMES)))
        return [self._frame(under, over, divmod(step, values.shape[1]), cell) for step in steps]

    def zeros(self) -> set[tuple[int, int]]:
        """The cells of the canvas that are no pixels of the input but zeros around or between them."""
        height, width = self.canvas().shape
        apart = self.stride if self.transposed else 1
        edge = (height - (self.image.shape[0] - 1) * apart - 1) // 2
        rows, columns = range(edge, height - edge, apart), range(edge, width - edge, apart)
        pixels = {(row, column) for row in rows for column in columns}
        return {(row, column) for row in range(height) for column in range(width)} - pixels

    def zeros_under(self, row: int, column: int) -> list[tuple[int, int]]:
        """Which of the cells under the kernel for this output are such zeros, as places in the kernel."""
        zeros = self.zeros()
        places = np.ndindex(self.kernel.shape)
        return [
            (down, across)
            for (down, across), cell in zip(places, self.cells(row, column), strict=True)
            if cell in zeros
        ]

    def _frame(self, under: Picture, over: Picture, place: tuple[int, int], cell: int) -> Picture:
        cells, done = under.copy(), over.copy()
        for row, column in self.cells(*place):
            _frame_cell(cells, row, column, cell)
        # Outputs that are yet to come are blank.
        row, column = place
        done[row * cell + 1 : (row + 1) * cell, (column + 1) * cell + 1 :] = 255
        done[(row + 1) * cell + 1 :] = 255
        done[-1], done[:, 0], done[:, -1] = RULE, RULE, RULE
        _frame_cell(done, row, column, cell)
        height, width = self.shape()
        patch, weights = self.under(*place)
        small = max(_room(weights * _WHITE), min(34, (_FRAME_WIDTH - 240) // (3 * weights.shape[1])))
        total = f"→ Σ = {number(float((patch * weights).sum()), '.6g')}"
        equation = Equation(
            [
                Grid(patch, "under the kernel", white=_WHITE, cell=small, blank=self.zeros_under(*place)),
                "×",
                Grid(weights, "kernel, flipped" if self.transposed else "kernel", cell=small),
                "=",
                Grid(patch * weights, "products", cell=small, form=".4g"),
            ]
        ).draw()
        beside = 24 + int(cells.shape[1]) + 60
        wide = beside + max(equation.width + _SUM, int(done.shape[1])) <= _FRAME_WIDTH - 24
        arrow = max(int(cells.shape[0]), int(done.shape[0]))
        x, y = (beside, _FRAME_TOP + int(done.shape[0]) + 36) if wide else (24, _FRAME_TOP + arrow + 40)
        right = x + equation.width + _SUM + 24
        words = text_width(self.in_words(), HEADING) + 48
        page = Canvas(
            max(_FRAME_TOP + arrow, y + equation.height) + 20, max(right, beside + int(done.shape[1]) + 24, words)
        )
        page.text(self.in_words(), 24, 32, HEADING)
        what = "input, with zeros between its pixels" if self.transposed and self.stride > 1 else "input"
        page.text(f"{what}: {self.image.shape[0]} × {self.image.shape[1]}", 24, 56, SMALL)
        page.text(f"output {height} × {width}", beside, 56, SMALL)
        page.text("→", beside - 38, _FRAME_TOP + int(done.shape[0]) // 2, TITLE)
        page.picture(24, _FRAME_TOP, cells)
        page.picture(beside, _FRAME_TOP, done)
        page.place(equation, x, y)
        # On its own: every frame is as wide, whatever the sum.
        page.text(total, x + equation.width + 10, y + small * patch.shape[0] // 2 + 6, Style(18))
        return raster(page)

    def in_words(self) -> str:
        kind = "Transposed convolution" if self.transposed else "Convolution"
        side = self.kernel.shape[0]
        return (
            f"{kind}, kernel {side} × {side}, stride {self.stride}, padding {self.padding}, dilation {self.dilation}."
        )


def _room(values: Array) -> int:
    """The least side of a cell that all of these numbers stand in, in the smallest letters that a grid has."""
    return max(16, max(text_width(number(float(value), ".4g"), Style(8)) for value in values.ravel()) + 4)


def _frame_cell(cells: Picture, row: int, column: int, cell: int) -> None:
    corner = (column * cell + 1, row * cell + 1)
    cv2.rectangle(cells, corner, ((column + 1) * cell - 1, (row + 1) * cell - 1), INK, 2)


def parse_size(size: str) -> tuple[int, int]:
    """(height, width) from "7x9". Raises DemoError for anything else."""
    found = re.fullmatch(r"\s*(\d+)\s*[x×,]\s*(\d+)\s*", str(size))
    if found is None:
        raise DemoSettingError(f"the size {size!r} is not of the form HxW, such as 7x9")
    return int(found[1]), int(found[2])


def parse_sliding(
    photo: Photo, kernel: int, stride: int, padding: int, dilation: int, size: str, *, transposed: bool
) -> Sliding:
    """A kernel of whole numbers that finds edges, over a part of the photo. Raises DemoError for what cannot be."""
    height, width = parse_size(size)
    for name, value, least, most in (
        ("the height", height, 1, _LARGEST),
        ("the width", width, 1, _LARGEST),
        ("kernel", kernel, 1, 7),
        ("stride", stride, 1, 8),
        ("padding", padding, 0, 8),
        ("dilation", dilation, 1, 8),
    ):
        if not least <= value <= most:
            raise DemoSettingError(f"{name} is {value}; give one from {least} to {most}")
    reach = dilation * (kernel - 1) + 1
    if stride > reach:
        raise DemoSettingError(
            f"stride {stride} is above the kernel's {reach} pixels: some would never be met; give at most {reach}"
        )
    if transposed and padding >= reach:
        raise DemoSettingError(
            f"padding {padding} cuts off all that the kernel of {reach} pixels adds; give at most {reach - 1}"
        )
    if not transposed and min(height, width) + 2 * padding < reach:
        raise DemoSettingError(
            f"the kernel covers {reach} pixels, and the input has {height} × {width}; give a larger size"
        )
    image = _cut(photo.grey, height, width)
    sliding = Sliding(image, _weights(kernel), stride, padding, dilation, transposed)
    if min(sliding.shape()) < 1:
        raise DemoSettingError(f"padding {padding} leaves no output of {height} × {width}; give less")
    return sliding


def _weights(side: int) -> Array:
    """Sobel's kernel of this side, that is what OpenCV's is; with an even side, or of one pixel, a plain difference."""
    if side == 1:
        return np.ones((1, 1))
    if side % 2:
        across, down = cv2.getDerivKernels(1, 0, side)
        return np.asarray(np.outer(down, across), np.float64)
    return np.asarray(np.tile(np.where(np.arange(side) < side // 2, -1.0, 1.0), (side, 1)))


def _cut(grey: npt.NDArray[np.uint8], height: int, width: int) -> Array:
    """(height, width) from 0 to 99: a part of the photo with strong edges, each number the mean of a block of it."""
    side = max(1, min(_BLOCK, grey.shape[0] // height, grey.shape[1] // width))
    small = blocks(grey, side).mean(-1)
    slope = cv2.boxFilter(abs(cv2.Sobel(small, cv2.CV_64F, 1, 0)), -1, (width, height), normalize=False)
    rows, columns = small.shape[0] - height + 1, small.shape[1] - width + 1
    # The filter's sums stand at the middle of what they are of.
    places = slope[height // 2 : height // 2 + rows, width // 2 : width // 2 + columns]
    top, left = divmod(int(places.argmax()), columns)
    return np.asarray(np.rint(small[top : top + height, left : left + width] / 255 * _WHITE))
