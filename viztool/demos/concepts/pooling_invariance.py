"""Pooling and invariance: shifts by its stride, and no others."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from viztool.demos.colors import BLUR, INPUT, MAX
from viztool.demos.kernel import correlate
from viztool.demos.photo import Photo
from viztool.demos.registry import demo
from viztool.demos.story import Story
from viztool.render.charts import Table
from viztool.render.grids import Grid
from viztool.render.numbers import number, percent
from viztool.render.panels import BAD, Shot, signed_picture
from viztool.render.plot import Curve, Plot

_SOBEL = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], np.float64)


def max_pool(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 2)


def blur_pool(x: Tensor) -> Tensor:
    """Max of 2 × 2 at every pixel, a binomial 3 × 3, every second pixel. Zhang 2019."""
    row = torch.tensor([1.0, 2, 1], dtype=x.dtype)
    kernel = (torch.outer(row, row) / 16)[None, None]
    dense = F.pad(F.max_pool2d(x, 2, 1), (1, 1, 1, 1), mode="reflect")
    return F.conv2d(dense, kernel, stride=2)


def change(before: Tensor, after: Tensor) -> float:
    """Root mean square difference over the standard deviation."""
    spread = float(before.std())
    return float((before - after).pow(2).mean().sqrt()) / spread if spread else 0.0


@demo("pooling-invariance", "Is pooling invariant?", claims=[19])
def pooling_invariance(photo: Photo, seed: int) -> Story:
    """Shifts the photo's edges pixel by pixel and rotates them; before and after max pooling and blur pooling."""
    story = Story(notes=["Change: root mean square difference over the standard deviation of the map."])
    edges = torch.from_numpy(abs(correlate(photo.grey, _SOBEL)))[None, None]
    ways = {"input": lambda x: x, "max pool 2": max_pool, "blur pool": blur_pool}
    most = 8
    width = (edges.shape[-1] - most) // 2 * 2
    shifts = list(range(most + 1))
    curves: dict[str, list[float]] = {}
    for name, way in ways.items():
        still = way(edges[..., :width])
        curves[name] = [change(still, way(edges[..., at : at + width])) for at in shifts]
    moved = {name: values[1] for name, values in curves.items()}
    pooled = max_pool(edges)
    for name in ("max pool 2",):
        by_two = max_pool(edges[..., 2:])
        exact = float((by_two - pooled[..., 1 : 1 + by_two.shape[-1]]).abs().max())
        story.equal(f"difference of {name} shifted by 2 to its output shifted by 1", exact, 0.0)
    if photo.is_reference:
        for name, value, within in (("input", 0.83, 0.02), ("max pool 2", 0.56, 0.01), ("blur pool", 0.41, 0.01)):
            story.near(f"change of {name} by one pixel", moved[name], value, within)
    story.numbers |= {"change_by_one_pixel": moved, "change_by_shift": curves, "difference_after_shift_by_2": exact}
    # Where the edges are strongest, on an even row and column.
    dense = F.avg_pool2d(edges, min(64, *edges.shape[-2:]), 8)[0, 0]
    top, left = (8 * int(at) for at in np.unravel_index(int(dense.argmax()), tuple(dense.shape)))
    crop = slice(top, top + 64), slice(left, left + 64)
    one = max_pool(edges[..., 1:])
    common = min(one.shape[-1], pooled.shape[-1])
    difference = (one[..., :common] - pooled[..., :common])[0, 0].numpy()
    small = slice(crop[0].start // 2, crop[0].stop // 2), slice(crop[1].start // 2, crop[1].stop // 2)
    limit = float(np.quantile(edges[0, 0].numpy(), 0.99)) or 1.0
    story.numbers["darkest_at"] = limit
    story.band(
        "On the photo",
        [
            f"The strength of vertical edges, a part. Moved by one pixel its max pool changes by "
            f"{percent(moved['max pool 2'])} of its deviation. Moved by two it is the same, moved by one: exactly."
        ],
        Shot(signed_picture(edges[0, 0].numpy()[crop], limit), "edges", [f"darkest from {number(limit, '.4g')}"], 4),
        Shot(signed_picture(pooled[0, 0].numpy()[small], limit), "max pool 2", [], 4),
        Shot(signed_picture(one[0, 0].numpy()[small], limit), "moved by one, max pool 2", [], 4),
        Shot(signed_picture(difference[small], limit), "their difference", [], 4),
    )
    story.on_slide(19)
    signal = torch.tensor([0.0, 0, 1, 1, 0, 0, 1, 1])
    rolled = signal.roll(1)
    rows = [F.max_pool1d(each[None, None], 2)[0, 0].tolist() for each in (signal, rolled)]
    story.equal("max pool 2 of 00110011, still and moved by one", rows, [[0, 1, 0, 1], [1, 1, 1, 1]])
    story.numbers["small"] = {"still": rows[0], "moved": rows[1]}
    story.band(
        "In small numbers",
        ["00110011 and the same, moved round by one."],
        Grid(torch.stack([signal, rolled]).numpy(), "signal, and moved by one", cell=32),
        Grid(np.array(rows), "their max pool 2", cell=32),
    )
    x = np.array(shifts, np.float64)
    colors = {"input": INPUT, "max pool 2": MAX, "blur pool": BLUR}
    story.band(
        "Shift by shift",
        [
            f"By one pixel: input {percent(moved['input'])}, max pool {percent(moved['max pool 2'])}, blur pool "
            f"{percent(moved['blur pool'])}. None is zero."
        ],
        Plot(
            [Curve(x, 100 * np.array(values), name, colors[name], dots=True) for name, values in curves.items()],
            "Change in %",
            "shift in pixels",
            across=2,
        ),
        Table(
            [["shift by one pixel", "change"], *([name, percent(value)] for name, value in moved.items())],
            colors=((2, 1, BAD),),
        ),
    )
    _rotation(story, photo)
    return story


def _rotation(story: Story, photo: Photo) -> None:
    """Against the same rotation of the output: 90° is exact on any map whose sides are even."""
    side = min(photo.grey.shape) // 2 * 2
    grey = torch.from_numpy(photo.grey[:side, :side].astype(np.float64))[None, None]
    quarter = float((max_pool(grey.rot90(1, (2, 3))) - max_pool(grey).rot90(1, (2, 3))).abs().max())
    story.equal("difference of max pooling to its rotation by 90°", quarter, 0.0)
    angles = [0.0, 2.0, 5.0, 10.0, 20.0, 45.0]
    inside = slice(side // 5, side - side // 5)
    curves: dict[str, list[float]] = {"input": [], "max pool 2": []}
    for angle in angles:
        turn = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), angle, 1)
        turned = torch.from_numpy(
            cv2.warpAffine(grey[0, 0].numpy(), turn, (side, side), borderMode=cv2.BORDER_REFLECT)
        )[None, None]
        part, other = grey[..., inside, inside], turned[..., inside, inside]
        curves["input"].append(change(part, other))
        curves["max pool 2"].append(change(max_pool(part), max_pool(other)))
    at_ten = {name: values[angles.index(10.0)] for name, values in curves.items()}
    if photo.is_reference:
        story.above("change of max pooling at 10°, over the input's", at_ten["max pool 2"] / at_ten["input"], 0.9)
    story.numbers["rotation"] = {
        "angles": angles,
        "change": curves,
        "at_10_degrees": at_ten,
        "difference_at_90_degrees": quarter,
    }
    story.when_this_fails(
        [
            f"Turned by 10° the pooled photo changes by {percent(at_ten['max pool 2'])}, the photo itself by "
            f"{percent(at_ten['input'])}: pooling is no help.",
            "By 90° its output turns with it, exactly: that is equivariance, not invariance.",
        ],
        Plot(
            [
                Curve(np.array(angles), 100 * np.array(values), name, color, dots=True)
                for (name, values), color in zip(curves.items(), (INPUT, MAX), strict=True)
            ],
            "Change of the photo in %",
            "rotation in degrees",
            across=2,
        ),
    )
