"""A convolution with a stride in place of pooling."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from viztool.demos.photo import Photo
from viztool.demos.registry import demo
from viztool.demos.story import Story
from viztool.render.charts import Table
from viztool.render.colormaps import Picture
from viztool.render.grids import Equation, Grid
from viztool.render.numbers import number
from viztool.render.panels import Shot, signed_picture


def _part_where(values: torch.Tensor, side: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where so many pixels of the photo have the largest sum of these values, in it and in maps half as large."""
    half = min(side // 2, *values.shape[-2:])
    sums = F.avg_pool2d(values.mean(1, keepdim=True), half, 1)[0, 0]
    row, column = divmod(int(sums.argmax()), sums.shape[1])
    rows, columns = slice(row, row + half), slice(column, column + half)
    return (slice(2 * row, 2 * (row + half)), slice(2 * column, 2 * (column + half))), (rows, columns)


def _cut(maps: torch.Tensor, part: tuple[slice, slice]) -> torch.Tensor:
    return maps[..., part[0], part[1]]


@demo("stride-vs-pool", "Can a stride replace pooling?", claims=[20], photo="camera")
def stride_vs_pool(photo: Photo, seed: int) -> Story:
    """A grouped kernel of quarters is the mean; the best linear kernel is not the max."""
    story = Story()
    x = torch.from_numpy(photo.rgb.copy()).permute(2, 0, 1)[None].double()
    x = x[..., : x.shape[-2] // 2 * 2, : x.shape[-1] // 2 * 2]
    quarters = torch.full((3, 1, 2, 2), 0.25, dtype=torch.float64)
    strided, mean = F.conv2d(x, quarters, stride=2, groups=3), F.avg_pool2d(x, 2)
    difference = float((strided - mean).abs().max())
    story.equal("difference of a grouped kernel of ¼ to the mean", difference, 0.0)
    top = F.max_pool2d(x, 2)

    def picture(maps: torch.Tensor) -> Picture:
        return np.ascontiguousarray(maps[0].round().clamp(0, 255).byte().permute(1, 2, 0).numpy())

    part, small = _part_where(top - mean, 64)
    story.numbers["part"] = {"top": part[0].start, "left": part[1].start, "side": part[0].stop - part[0].start}
    story.band(
        "On the photo",
        [
            "A part of 64 × 64 pixels, where max and mean differ most.",
            f"A 2 × 2 kernel of quarters for each channel, with stride 2, is the mean: the difference is "
            f"{number(difference)}.",
        ],
        Shot(picture(_cut(x, part)), "the part", [], 4),
        Shot(picture(_cut(strided, small)), "stride 2, quarters", [], 4),
        Shot(picture(_cut(mean, small)), "mean pool", ["the same"], 4),
        Shot(picture(_cut(top, small)), "max pool", ["what is bright grows"], 4),
    )
    story.on_slide(20)
    # The kernel that comes nearest to the max of 2 × 2, by least squares on this photo.
    patches = F.unfold(x.transpose(0, 1), 2, stride=2).transpose(1, 2).reshape(-1, 4)
    wanted = patches.amax(1)
    design = torch.cat([patches, torch.ones(len(patches), 1, dtype=torch.float64)], 1)
    best = torch.linalg.lstsq(design.T @ design + 1e-6 * torch.eye(5, dtype=torch.float64), design.T @ wanted).solution
    left = design @ best - wanted
    rms = float(left.pow(2).mean().sqrt())
    mean_rms = float((patches.mean(1) - wanted).pow(2).mean().sqrt())
    story.below("error of the nearest kernel to max, over the mean's", rms, mean_rms + 1e-6)
    a, b = torch.tensor([[0.0, 0, 0, 8]]), torch.tensor([[8.0, 0, 0, 0]])
    gap = float((a + b).amax() - (a.amax() + b.amax()))
    story.equal("max(a + b) − max a − max b", gap, -8.0)
    story.numbers |= {
        "difference_to_mean": difference,
        "nearest_to_max": {
            "kernel": best[:4].tolist(),
            "bias": float(best[4]),
            "rms": rms,
            "rms_of_the_mean": mean_rms,
        },
        "not_additive_by": gap,
    }
    weights = {
        "max pool": 0,
        "depthwise 2 × 2": nn.Conv2d(64, 64, 2, 2, groups=64).weight.numel(),
        "full 3 × 3": nn.Conv2d(64, 64, 3, 2).weight.numel(),
    }
    story.numbers["weights"] = weights
    story.band(
        "What it costs",
        ["In place of a pool of 64 channels."],
        Table([["layer", "weights"], *([name, f"{count:,}"] for name, count in weights.items())]),
        Shot(
            signed_picture((top - mean)[0].mean(0).numpy(), 60),
            "max − mean, all of the photo",
            ["what a stride would miss; darkest from 60"],
            4,
        ),
    )
    story.when_this_fails(
        [
            f"Max is not linear: max(a + b) is not max a + max b. The kernel nearest to it on this photo is "
            f"{rms:.2f} grey levels off, the mean {mean_rms:.2f}.",
            "A ReLU and more channels can come nearer: a network learns around it, it does not become it.",
        ],
        Equation(
            [
                Grid(a.view(2, 2).numpy(), "max 8", cell=36),
                "+",
                Grid(b.view(2, 2).numpy(), "max 8", cell=36),
                "=",
                Grid((a + b).view(2, 2).numpy(), "max 8, not 16", cell=36),
            ]
        ),
        Grid(best[:4].view(2, 2).numpy(), "the kernel nearest to max", form=".3f", cell=48),
    )
    return story
