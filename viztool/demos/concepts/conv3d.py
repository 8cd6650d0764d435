"""3D convolution: a kernel that also slides in depth."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from viztool.demos.photo import Photo
from viztool.demos.registry import demo
from viztool.demos.story import Story
from viztool.render.charts import Bar, Bars, Table
from viztool.render.grids import Grid
from viztool.render.numbers import number
from viztool.render.panels import Shot, signed_picture


@demo("conv3d", "Is a 3D kernel shared by the channels?", claims=[9], photo="astronaut")
def conv3d(photo: Photo, seed: int) -> Story:
    """The photo's three colours as depth: a 2D kernel is as deep as its input, a 3D kernel slides in it."""
    story = Story(notes=["Maps are white where they are zero, red where positive, blue where negative."])
    generator = torch.Generator().manual_seed(seed)
    x = torch.from_numpy(photo.rgb.copy()).permute(2, 0, 1)[None].double()
    weight = torch.randint(-2, 3, (1, 3, 3, 3), generator=generator).double()
    flat = F.conv2d(x, weight)
    deep = F.conv3d(x[:, None], weight[:, None])
    difference = float((flat - deep[:, :, 0]).abs().max())
    story.equal("difference of a Conv2d to the Conv3d that is as deep as its input", difference, 0.0)
    story.equal("depth of that Conv3d's output", deep.shape[2], 1)
    slices = [weight[0, at].numpy() for at in range(3)]
    story.above("difference between the slices of one 3D kernel", float((weight[0, 0] - weight[0, 1]).abs().max()), 1)
    sliding = F.conv3d(x[:, None], weight[:, None, :2])[0, 0]
    story.equal("depth of the output of a kernel 2 deep on 3", sliding.shape[0], 2)
    limit = max(
        float(sliding.abs().quantile(0.99)) if sliding.numel() < 1_000_000 else float(sliding.abs().max()) / 3, 1.0
    )
    story.numbers |= {
        "difference": difference,
        "kernel": weight.tolist(),
        "depths": {"as deep": 1, "2 deep": 2},
        "darkest_at": limit,
    }
    story.band(
        "One kernel, three slices",
        [
            f"A Conv2d is a Conv3d as deep as its input: on the photo they differ by {number(difference)}. Its slices "
            "are not the same."
        ],
        *(Grid(values, name, cell=40) for values, name in zip(slices, ("on red", "on green", "on blue"), strict=True)),
    )
    story.band(
        "What is shared",
        ["A kernel 2 deep slides in depth, too: over red and green, then over green and blue, with the same weights."],
        Shot(photo.rgb, "the photo, 3 deep", [], 4),
        Shot(
            signed_picture(sliding[0].numpy(), limit), "over red and green", [f"darkest from {number(limit, '.4g')}"], 4
        ),
        Shot(signed_picture(sliding[1].numpy(), limit), "over green and blue", ["the same two slices"], 4),
    )
    two, three = nn.Conv2d(16, 8, 3), nn.Conv3d(1, 8, 3)
    counts = [sum(each.numel() for each in layer.parameters()) for layer in (two, three)]
    story.equal("parameters of Conv2d 16 → 8 and of Conv3d 1 → 8", counts, [1160, 224])
    story.numbers["parameters"] = {"conv2d": counts[0], "conv3d": counts[1]}
    out = tuple(three(torch.zeros(1, 1, 16, 10, 10)).shape[1:]), tuple(two(torch.zeros(1, 16, 10, 10)).shape[1:])
    story.equal("what they put out", [list(each) for each in out], [[8, 14, 8, 8], [8, 8, 8]])
    story.when_this_fails(
        [
            "It is not one slice for all channels: the slices differ. It is shared because it slides in depth; a 2D "
            "kernel has weights of its own for each of the 16 channels.",
        ],
        Bars(
            [
                Bar("Conv2d, 16 → 8 channels", counts[0], f"{counts[0]:,}"),
                Bar("Conv3d, 1 → 8, 16 deep", counts[1], f"{counts[1]:,}"),
            ],
            "Parameters, kernels of side 3",
        ),
        Table([["on 10 × 10", "output"], ["Conv2d", "8 × 8 × 8"], ["Conv3d", "8 × 14 × 8 × 8"]]),
    )
    return story
