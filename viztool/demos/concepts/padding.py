"""Padding: how often each pixel is used."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from viztool.demos.kernel import correlate
from viztool.demos.photo import Photo
from viztool.demos.registry import demo
from viztool.demos.story import Story
from viztool.render.grids import Grid
from viztool.render.numbers import percent
from viztool.render.panels import Shot, grey_picture


def usage(side: int, kernel: int, padding: int, layers: int = 1) -> Tensor:
    """(side, side): through how many paths each pixel reaches the output."""
    x = torch.zeros(1, 1, side, side, dtype=torch.float64, requires_grad=True)
    y: Tensor = x
    for _ in range(layers):
        y = F.conv2d(y, torch.ones(1, 1, kernel, kernel, dtype=torch.float64), padding=padding)
    (counts,) = torch.autograd.grad(y.sum(), x)
    return counts[0, 0]


@demo("padding", "Are pixels at the border used less?", claims=[29], photo="camera")
def padding(photo: Photo, seed: int) -> Story:
    """Usage of each pixel with and without padding, and what zeros do to a photo's border."""
    story = Story()
    valid, same = usage(5, 3, 0), usage(5, 3, 1)
    story.equal("corner and centre of 5 × 5, kernel 3, no padding", [valid[0, 0].item(), valid[2, 2].item()], [1, 9])
    story.equal("the same with padding 1", [same[0, 0].item(), same[2, 2].item()], [4, 9])
    story.numbers["usage"] = {"valid": valid.tolist(), "same": same.tolist()}
    story.band(
        "In small numbers",
        [
            "In how many places of the kernel each of 5 × 5 pixels is used: the corner once, with padding 4 times, "
            "the centre 9 times in both."
        ],
        Grid(valid.numpy(), "no padding", ["output 3 × 3"], cell=40),
        Grid(same.numpy(), "padding 1", ["output 5 × 5"], cell=40),
    )
    deep_valid, deep_same = usage(21, 3, 0, 5), usage(21, 3, 1, 5)
    shares = {name: float(each[0, 0] / each.max()) for name, each in (("none", deep_valid), ("1", deep_same))}
    story.below("corner over centre behind 5 layers without padding", shares["none"], 1e-4)
    story.above("corner over centre with padding, over without", shares["1"] / shares["none"], 100)
    story.numbers["five_layers"] = shares
    story.band(
        "Five layers",
        [
            f"Of the centre's paths the corner has {percent(shares['none'], 4)} without padding, "
            f"{percent(shares['1'], 1)} with."
        ],
        Grid((deep_valid / deep_valid.max()).numpy(), "no padding: 21 → 11", form="", cell=13),
        Grid((deep_same / deep_same.max()).numpy(), "padding 1: 21 → 21", form="", cell=13),
    )
    kernel = np.ones((9, 9)) / 81
    zeros, mirrored = correlate(photo.unit, kernel, "constant"), correlate(photo.unit, kernel)
    edge = np.ones(zeros.shape, bool)
    edge[1:-1, 1:-1] = False
    dark = float((mirrored - zeros)[edge].mean())
    inner = float(abs(mirrored - zeros)[8:-8, 8:-8].max(initial=0.0))
    story.equal("what zeros change further inside than the kernel", inner, 0.0)
    story.above("how much darker zeros make the border", dark, 0.0)
    story.numbers["photo"] = {"darker_at_the_border": dark, "inside": inner}
    story.when_this_fails(
        [
            "Padding counts the border more, with pixels that are not there: a mean of 9 × 9 with zeros is darker at "
            f"the rim, by {dark:.3f} of white on the outermost pixels. Mirrored it is not.",
            "A network learns where the border is from such zeros.",
        ],
        Shot(grey_picture(photo.unit, 0, 1), "the photo", [], 4),
        Shot(grey_picture(zeros, 0, 1), "mean of 9 × 9, zeros", [f"rim {dark:.3f} darker"], 4),
        Shot(grey_picture(mirrored, 0, 1), "mean of 9 × 9, mirrored", [], 4),
    )
    return story
