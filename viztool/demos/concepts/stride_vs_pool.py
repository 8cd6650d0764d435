"""A convolution with a stride in place of pooling."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from viztool.demos.photo import Photo
from viztool.demos.registry import demo
from viztool.demos.story import Story
from viztool.render.colormaps import Picture
from viztool.render.numbers import number
from viztool.render.panels import Equation, Grid, Shot, Table, grey_picture


@demo("stride-vs-pool", "Can a stride replace pooling?", claims=[20])
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

    story.band(
        "On the photo",
        [
            f"A 2 × 2 kernel of quarters for each channel, with stride 2, is the mean: the difference is "
            f"{number(difference)}."
        ],
        Shot(photo.rgb, "the photo", [], 4),
        Shot(picture(strided), "stride 2, quarters", [], 4),
        Shot(picture(mean), "mean pool", [], 4),
        Shot(picture(top), "max pool", [], 4),
    )
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
        Shot(grey_picture((top - mean)[0].mean(0).numpy(), 0, 60), "max − mean", ["what a stride would miss"], 6),
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
