"""Bilinear upsampling: four weights."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from viztool.demos.photo import Photo
from viztool.demos.registry import demo
from viztool.demos.story import Story
from viztool.render.charts import Table
from viztool.render.grids import Equation, Grid
from viztool.render.numbers import number
from viztool.render.panels import Shot, grey_picture


def _busiest(grey: npt.NDArray[np.float32], side: int) -> npt.NDArray[np.float32]:
    """The part of the photo that varies most: on a smooth one all ways to enlarge look the same."""
    side = min(side, *grey.shape)
    mean, square = (cv2.blur(each, (side, side)) for each in (grey, grey**2))
    half = side // 2
    inside = (square - mean**2)[half : half + grey.shape[0] - side + 1, half : half + grey.shape[1] - side + 1]
    top, left = divmod(int(inside.argmax()), inside.shape[1])
    return grey[top : top + side, left : left + side]


@demo("upsampling", "What does bilinear interpolation do?", claims=[12], photo="cat")
def upsampling(photo: Photo, seed: int) -> Story:
    """The four weights at a point, planes on which it is exact, OpenCV's resize, and a transposed convolution."""
    story = Story()
    grey = photo.unit.astype(np.float32)
    crop = _busiest(grey, 28)
    x = torch.from_numpy(crop.copy())[None, None]
    size = (crop.shape[0] * 8, crop.shape[1] * 8)
    shots = []
    for mode, aligned in (("nearest", None), ("bilinear", False), ("bicubic", False)):
        out = F.interpolate(x, size, mode=mode, align_corners=aligned)[0, 0].numpy()
        shots.append(Shot(grey_picture(out, 0, 1), mode, [f"{size[1]} × {size[0]}"], 4))
    story.band(
        "On the photo",
        [f"A part of {crop.shape[1]} × {crop.shape[0]} pixels, eight times as large."],
        Shot(grey_picture(crop, 0, 1), "the part", [], 4),
        *shots,
    )
    u, v = 0.25, 0.75
    corners = np.rint(crop[4:6, 4:6] * 255).astype(np.float64)
    weights = np.outer([1 - v, v], [1 - u, u])
    point = float((weights * corners).sum())
    sampled = float(
        F.grid_sample(
            torch.from_numpy(corners)[None, None],
            torch.tensor([[[[2 * u - 1, 2 * v - 1]]]], dtype=torch.float64),
            align_corners=True,
        )
    )
    story.near("the value at P, by torch", sampled, point, 1e-9)
    story.near("sum of the four weights", float(weights.sum()), 1.0, 1e-12)
    story.numbers["at_p"] = {"u": u, "v": v, "corners": corners, "weights": weights, "value": point}
    story.band(
        "In small numbers",
        [
            f"P lies {number(u)} to the right and {number(v)} down between four pixels. Each weighs as much as the "
            "area of the rectangle across from it."
        ],
        Equation(
            [
                Grid(corners, "four pixels", limit=1e9, cell=44),
                "×",
                Grid(weights, "weights", form=".4f", cell=52, limit=2),
                f"→ Σ = {point:.4f}",
            ]
        ),
    )
    a, b, c, d = 1.0, 0.5, -0.25, 0.125
    plane = np.fromfunction(lambda y, z: a + b * z + c * y + d * z * y, (6, 6))
    big = F.interpolate(torch.from_numpy(plane)[None, None], (11, 11), mode="bilinear", align_corners=True)[
        0, 0
    ].numpy()
    exact = np.fromfunction(lambda y, z: a + b * z / 2 + c * y / 2 + d * z * y / 4, (11, 11))
    on_plane = float(abs(big - exact).max())
    story.below("error on a + bx + cy + dxy", on_plane, 1e-12)
    curved = np.fromfunction(lambda y, z: z * z, (6, 6))
    wrong = F.interpolate(torch.from_numpy(curved)[None, None], (11, 11), mode="bilinear", align_corners=True)[
        0, 0
    ].numpy()
    on_curve = float(abs(wrong - np.fromfunction(lambda y, z: z * z / 4, (11, 11))).max())
    story.near("error on x², a quarter of its second difference's half", on_curve, 0.25, 1e-9)
    mine = F.interpolate(x, (50, 61), mode="bilinear", align_corners=False)[0, 0].numpy()
    theirs = cv2.resize(crop, (61, 50), interpolation=cv2.INTER_LINEAR)
    other = F.interpolate(x, (50, 61), mode="bilinear", align_corners=True)[0, 0].numpy()
    near, far = float(abs(mine - theirs).max()), float(abs(other - theirs).max())
    story.below("difference of cv2.resize to align_corners=False", near, 3e-6)
    story.numbers["errors"] = {"plane": on_plane, "curve": on_curve, "opencv": near, "opencv_align_corners": far}
    story.band(
        "Where it is exact",
        ["On a + bx + cy + dxy it is right at every point; on curved surfaces it is not."],
        Table(
            [
                ["", "largest error"],
                ["a + bx + cy + dxy", number(on_plane, ".2g")],
                ["x²", number(on_curve)],
                ["cv2.resize against align_corners=False", number(near, ".2g")],
                ["cv2.resize against align_corners=True", number(far, ".2g")],
            ]
        ),
    )
    row = torch.tensor([0.25, 0.75, 0.75, 0.25])
    kernel = torch.outer(row, row)[None, None]
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    learned = F.conv_transpose2d(padded, kernel, stride=2, padding=1)[..., 2:-2, 2:-2]
    twice = F.interpolate(x, scale_factor=2, mode="bilinear")
    same = float((learned - twice).abs().max())
    story.below("difference of bilinear ×2 to a transposed 4 × 4", same, 1e-5)
    rng = torch.Generator().manual_seed(seed)
    random = F.conv_transpose2d(padded, torch.rand(1, 1, 4, 4, generator=rng) / 4, stride=2, padding=1)[..., 2:-2, 2:-2]
    story.numbers["learned"] = {"difference": same}
    story.when_this_fails(
        [
            f"Learned upsampling needs no rule, but it can learn this one: a transposed 4 × 4 with stride 2 is "
            f"bilinear ×2, within {number(same, '.2g')}.",
            "Before it is trained it is no interpolation at all: at the right, random weights.",
        ],
        Grid(kernel[0, 0].numpy(), "the weights of bilinear ×2", form=".4f", cell=52),
        Shot(grey_picture(learned[0, 0].numpy(), 0, 1), "transposed, these weights", [], 5),
        Shot(grey_picture(random[0, 0].numpy(), 0, 1), "transposed, random weights", [], 5),
    )
    return story
