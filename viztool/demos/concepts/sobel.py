"""Sobel: what a convolution with a known kernel finds, and what flat areas give."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from viztool.demos.errors import DemoSettingError
from viztool.demos.kernel import BORDERS, Array, correlate, parse_kernel
from viztool.demos.photo import Photo
from viztool.demos.registry import demo
from viztool.demos.signal import strong
from viztool.demos.story import Story
from viztool.render.charts import Table
from viztool.render.grids import Equation, Grid
from viztool.render.numbers import number, percent
from viztool.render.panels import Shot, signed_picture
from viztool.render.plot import BLUE, Curve, Plot

_CV_BORDERS = {
    "reflect-101": cv2.BORDER_REFLECT_101,
    "reflect": cv2.BORDER_REFLECT,
    "replicate": cv2.BORDER_REPLICATE,
    "constant": cv2.BORDER_CONSTANT,
}
_KSIZES = (-1, 1, 3, 5, 7)
_RAMP_GAIN = {-1: 32, 1: 2, 3: 8, 5: 128, 7: 2048}
_AROUND = 41  # pixels a side of an area that is flat; in one that is smaller, nothing is to be seen


def sobel_kernel(ksize: int) -> Array:
    """OpenCV's kernel of the x derivative, the outer product of its getDerivKernels; −1 is Scharr's.

    Raises DemoError for a size that OpenCV does not have.
    """
    if ksize not in _KSIZES:
        raise DemoSettingError(
            f"ksize is {ksize}; OpenCV's Sobel has {', '.join(map(str, _KSIZES))}, and −1 is Scharr's"
        )
    across, down = cv2.getDerivKernels(1, 0, ksize)
    product: Array = np.outer(down, across).astype(np.float64)
    return product


@demo("sobel", "What does a Sobel kernel find?", claims=[30])
def sobel(
    photo: Photo, seed: int, *, kernel: str | npt.ArrayLike | None = None, ksize: int = 3, border: str = "reflect-101"
) -> Story:
    """A kernel of one's own, or Sobel's of size −1, 1, 3, 5 or 7, with one of OpenCV's borders."""
    own = kernel is not None
    across = parse_kernel(kernel) if kernel is not None else sobel_kernel(ksize)
    down = across.T
    grey = photo.grey
    story = Story(notes=["Maps are white where they are zero, red where positive, blue where negative."])
    gx, gy = correlate(grey, across, border), correlate(grey, down, border)
    _operation(story, photo, gx, gy, own)
    _small_numbers(story, grey, across, gx)
    _borders(story, grey, across, border, own, ksize)
    if not own:
        _sizes(story)
    _any_size(story, grey, across, gx)
    _flat(story, photo, gx, gy, across, own, ksize, border)
    return story


def _operation(story: Story, photo: Photo, gx: Array, gy: Array, own: bool) -> None:
    magnitude = np.hypot(gx, gy)
    largest = {"gx": float(abs(gx).max()), "gy": float(abs(gy).max()), "magnitude": float(magnitude.max())}
    story.numbers["largest"] = largest
    ends = {name: strong(values) for name, values in (("gx", gx), ("gy", gy), ("magnitude", magnitude))}
    story.numbers["darkest_at"] = ends
    names = ("with the kernel", "with its transpose") if own else ("Gx: vertical edges", "Gy: horizontal edges")
    story.band(
        "On the photo",
        [
            "The kernel slides over the grey photo. At each pixel: multiply with what lies under it, sum.",
            "A kernel that differs from left to right finds edges that run from top to bottom."
            if not own
            else "Your kernel, and the same on its side.",
        ],
        Shot(_three(photo.grey), "the photo in grey", ["0 to 255"]),
        Shot(
            signed_picture(gx, ends["gx"]),
            names[0],
            [f"±{number(largest['gx'], '.4g')}, darkest from {number(ends['gx'], '.4g')}"],
        ),
        Shot(
            signed_picture(gy, ends["gy"]),
            names[1],
            [f"±{number(largest['gy'], '.4g')}, darkest from {number(ends['gy'], '.4g')}"],
        ),
        Shot(
            signed_picture(magnitude, ends["magnitude"]),
            "magnitude",
            [
                "√(Gx² + Gy²)",
                f"to {number(largest['magnitude'], '.4g')}, darkest from {number(ends['magnitude'], '.4g')}",
            ],
        ),
        Shot(_direction(gx, gy, magnitude), "direction", ["arctan2(Gy, Gx) as hue,", "white where nothing changes"]),
    )
    story.on_slide(30)


def _three(grey: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.repeat(grey[..., None], 3, 2)


def _direction(gx: Array, gy: Array, magnitude: Array) -> npt.NDArray[np.uint8]:
    """Hue by angle; white where there is no edge."""
    hue = (np.degrees(np.arctan2(gy, gx)) % 360) / 2
    strong = np.clip(magnitude / max(float(np.quantile(magnitude, 0.98)), 1e-9), 0, 1)
    hsv = np.stack([hue, 255 * strong, np.full_like(hue, 255) - 60 * strong], 2)
    return np.asarray(cv2.cvtColor(np.rint(hsv).astype(np.uint8), cv2.COLOR_HSV2RGB), np.uint8)


def _small_numbers(story: Story, grey: npt.NDArray[np.uint8], kernel: Array, gx: Array) -> None:
    """The strongest place and the flattest one, worked out."""
    high, wide = (side // 2 for side in kernel.shape)
    inside = abs(gx[high : gx.shape[0] - high, wide : gx.shape[1] - wide])
    strongest = np.unravel_index(int(inside.argmax()), inside.shape)
    flattest = _flat_area(inside)
    worked: dict[str, Any] = {}
    panels = []
    for name, (row, column) in (("at the strongest edge", strongest), ("in a flat area", flattest)):
        patch = grey[row : row + kernel.shape[0], column : column + kernel.shape[1]].astype(np.float64)
        products = patch * kernel
        total = float(products.sum())
        story.near(f"sum of the products {name}", total, float(gx[row + high, column + wide]), 1e-6 * abs(total) + 1e-9)
        worked[name] = {
            "row": int(row) + high,
            "column": int(column) + wide,
            "patch": patch,
            "products": products,
            "sum": total,
        }
        if max(kernel.shape) <= 5:
            cell = 34 if max(kernel.shape) <= 3 else 30
            panels.append(
                Equation(
                    [
                        Grid(patch, "patch", white=255, cell=cell),
                        "×",
                        Grid(kernel, "kernel", cell=cell, form=".3g"),
                        "=",
                        Grid(products, "products", cell=cell, form=".4g"),
                        f"→ Σ = {number(total, '.6g')}",
                    ],
                    f"{name}: row {int(row) + high}, column {int(column) + wide}",
                )
            )
    story.numbers["kernel"] = kernel
    story.numbers["worked"] = worked
    if panels:
        lines = ["Nine multiplications and a sum, with the photo's own values."] if kernel.size == 9 else []
        story.band("In small numbers", lines, *panels)


def _flat_area(size: Array) -> tuple[int, int]:
    """The middle of a flat area: where the mean strength of the pixels around is least, off the photo's border."""
    around = min(_AROUND, *size.shape)
    means = cv2.blur(size, (around, around))
    half = around // 2
    kept = means[half : max(half + 1, means.shape[0] - half), half : max(half + 1, means.shape[1] - half)]
    row, column = divmod(int(kept.argmin()), kept.shape[1])
    return row + half, column + half


def _borders(story: Story, grey: npt.NDArray[np.uint8], kernel: Array, border: str, own: bool, ksize: int) -> None:
    """Equal to OpenCV with every border that it has; torch's own padding differs at the border alone."""
    rows = [["border", "beyond the edge", "difference to OpenCV"]]
    beyond = {"reflect-101": "dcb | abcd", "reflect": "cba | abcd", "replicate": "aaa | abcd", "constant": "000 | abcd"}
    differences: dict[str, float] = {}
    for name in BORDERS:
        mine = correlate(grey, kernel, name)
        theirs = (
            cv2.filter2D(grey, cv2.CV_64F, kernel, borderType=_CV_BORDERS[name])
            if own
            else cv2.Sobel(grey, cv2.CV_64F, 1, 0, ksize=ksize, borderType=_CV_BORDERS[name])
        )
        differences[name] = float(abs(mine - theirs).max())
        whole = bool((kernel == np.rint(kernel)).all())
        tolerance = 0.0 if whole else 1e-4 * float(abs(kernel).sum()) * 255
        story.below(f"difference to OpenCV with border {name}", differences[name], tolerance)
        rows.append([name + (" (used here)" if name == border else ""), beyond[name], number(differences[name], ".3g")])
    unit = (grey / 255).astype(np.float32)
    wide, high = kernel.shape[1] // 2, kernel.shape[0] // 2
    padded = F.pad(torch.from_numpy(unit)[None, None], (wide, wide, high, high), mode="reflect")
    floats = F.conv2d(padded, torch.from_numpy(kernel.astype(np.float32))[None, None])[0, 0].numpy()
    exact = correlate(grey, kernel) / 255
    float_error = float(abs(floats - exact).max())
    story.below("error in float32 on [0, 1]", float_error, 3e-6 * max(1.0, float(abs(kernel).sum())))
    zeros, mirrored = correlate(grey, kernel, "constant"), correlate(grey, kernel)
    differs = zeros != mirrored
    inside = differs[high : differs.shape[0] - high, wide : differs.shape[1] - wide]
    story.equal("pixels off the border that torch's padding=1 changes", int(inside.sum()), 0)
    share = float(differs.sum() / max(differs.size - inside.size, 1))
    story.numbers["borders"] = {
        "difference": differences,
        "float32_error": float_error,
        "differing_at_the_border": int(differs.sum()),
        "differing_inside": int(inside.sum()),
        "differing_share_of_the_border": share,
    }
    story.band(
        "The same as OpenCV",
        [
            "On whole numbers from 0 to 255 torch's conv2d and OpenCV give the same, to the last bit, if the borders "
            "are the same.",
            "conv2d(padding=1) puts zeros there; OpenCV's default mirrors the photo.",
        ],
        Table(rows, "What lies beyond the border", [f"in float32 on [0, 1]: within {number(float_error, '.1g')}"]),
        Table(
            [
                ["torch's zeros against OpenCV's default", "pixels"],
                ["differ at the border", f"{int(differs.sum()):,} ({percent(share)} of it)"],
                ["differ inside", f"{int(inside.sum())}"],
            ]
        ),
    )


def _sizes(story: Story) -> None:
    """The kernels that OpenCV has, and what each makes of a ramp that rises by one a pixel."""
    ramp = np.tile(np.arange(32, dtype=np.float64), (32, 1))
    panels = []
    gains: dict[str, float] = {}
    for ksize in _KSIZES:
        kernel = sobel_kernel(ksize)
        gain = float(correlate(ramp, kernel)[16, 16])
        story.equal(f"ramp gain of ksize {ksize}", gain, float(_RAMP_GAIN[ksize]))
        gains[str(ksize)] = gain
        cell = {1: 28, 3: 28, 5: 28, 7: 30}[kernel.shape[1]]
        name = f"ksize {number(ksize)}" + (" (Scharr)" if ksize == -1 else "")
        panels.append(Grid(kernel, name, [f"a ramp gives {number(gain)}"], cell=cell, width=120))
    story.numbers["ramp_gain"] = gains
    story.band(
        "Its sizes",
        ["The outer product of a difference and a smoothing. What a ramp of slope 1 gives is the kernel's scale."],
        *panels,
    )


def _any_size(story: Story, grey: npt.NDArray[np.uint8], kernel: Array, whole: Array) -> None:
    """The same weights take every size, and a part of the photo gives that part of the map."""
    high, wide = (side // 2 for side in kernel.shape)
    height, width = grey.shape
    rows = [["input", "weights", "output", "difference to the whole photo's map"]]
    found: list[dict[str, Any]] = []
    for h, w in ((height, width), (height // 2, width // 2), (height // 3, width // 2 + 1)):
        if min(h - 2 * high, w - 2 * wide) < 1:
            continue
        top, left = (height - h) // 2, (width - w) // 2
        out = correlate(grey[top : top + h, left : left + w], kernel)[high : h - high, wide : w - wide]
        there = whole[top + high : top + h - high, left + wide : left + w - wide]
        difference = float(abs(out - there).max())
        story.below(f"difference of the map of a {w} × {h} part, inside", difference, 1e-6)
        found.append(
            {"input": [h, w], "weights": int(kernel.size), "inside": list(out.shape), "difference": difference}
        )
        rows.append([f"{w} × {h}", f"{kernel.size}", f"{out.shape[1]} × {out.shape[0]} inside", number(difference)])
    story.numbers["any_size"] = found
    story.band(
        "Any height, any width",
        ["The kernel has no opinion on the photo's size. A part of the photo gives that part of the map."],
        Table(rows),
    )


def _flat(story: Story, photo: Photo, gx: Array, gy: Array, kernel: Array, own: bool, ksize: int, border: str) -> None:
    size = abs(gx)
    top = float(size.max())
    zero = float((size == 0).mean())
    small = float((size < 0.05 * top).mean()) if top else 1.0
    levels = np.linspace(0, 1, 101)
    below = np.array([float((size <= level * top).mean()) for level in levels])
    total = float(kernel.sum())
    numbers: dict[str, Any] = {
        "exactly_zero": zero,
        "under_5_percent": small,
        "kernel_sum": total,
        "flat_is_under": 0.05,
        "cumulative": below,
    }
    curve = Plot(
        [Curve(levels * 100, below * 100, "pixels up to that strength", BLUE)],
        "How flat the photo is",
        "strength in % of the strongest edge",
        [f"exactly 0: {percent(zero, 1)} of the pixels", f"under 5 % of the largest: {percent(small)}"],
        across=3,
        y_range=(0, 100),
    )
    flat = np.full((16, 16), 100, np.uint8)
    response = float(correlate(flat, kernel)[8, 8])
    story.near("response to a constant of 100", response, 100 * total, 1e-6 * max(1.0, abs(100 * total)))
    numbers["constant_100_gives"] = response
    panels: list[Any] = [curve]
    lines = [
        "Only a constant area gives the kernel's sum times its value: "
        f"here {number(total, '.4g')}, so {number(response, '.4g')} for a constant 100. "
        "A photo's flat areas still have noise and light.",
    ]
    if not own:
        clipped = cv2.Sobel(photo.grey, cv2.CV_8U, 1, 0, ksize=ksize, borderType=_CV_BORDERS[border])
        lost = float(((clipped == 0) & (gx != 0)).sum() / max(int((gx != 0).sum()), 1))
        story.equal("negative gradients that 8 bits keep", int(((clipped > 0) & (gx < 0)).sum()), 0)
        numbers["lost_in_8_bits"] = lost
        panels.append(
            Shot(
                signed_picture(clipped, strong(gx)),
                "in 8 bits",
                [f"{percent(lost, 1)} of the gradients are lost:", "all negative ones"],
                4,
            )
        )
        magnitude = np.hypot(gx, gy)
        angle = np.degrees(np.arctan2(gy, gx)) % 360
        theirs = cv2.phase(gx, gy, angleInDegrees=True)
        error = abs((angle - theirs + 180) % 360 - 180)[magnitude > 0]
        worst = float(error.max(initial=0.0))
        story.below("largest error of cv2.phase in degrees", worst, 0.5)
        numbers["phase_error_degrees"] = worst
        lines.append(
            f"8-bit output cuts negative values. cv2.phase is approximate: up to {number(worst, '.2g')}° off here."
        )
        if photo.is_reference and ksize == 3 and border == "reflect-101":
            story.near("share of pixels exactly 0", zero, 0.0223, 0.0005)
            story.near("share of pixels under 5 % of the largest", small, 0.838, 0.003)
            story.near("gradients lost in 8 bits", lost, 0.499, 0.001)
    story.numbers["flat"] = numbers
    story.when_this_fails(lines, *panels)
