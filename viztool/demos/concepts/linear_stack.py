"""A stack of linear layers is one linear layer."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from viztool.demos.photo import Photo
from viztool.demos.registry import demo
from viztool.demos.story import Story
from viztool.render.grids import Equation, Grid
from viztool.render.numbers import number, percent
from viztool.render.panels import Shot, signed_picture

_SOBEL = ((-1.0, 0, 1), (-2, 0, 2), (-1, 0, 1))
_SMOOTH = ((1.0, 2, 1), (2, 4, 2), (1, 2, 1))


@demo("linear-stack", "Are two linear layers more than one?", claims=[26], photo="camera")
def linear_stack(photo: Photo, seed: int) -> Story:
    """Sobel and then a smoothing as one kernel, on the photo, with zero padding and with a ReLU between them."""
    story = Story(notes=["Maps are white where they are zero, red where positive, blue where negative; on one scale."])
    generator = torch.Generator().manual_seed(seed)
    first, second = (torch.tensor(kernel).double()[None, None] for kernel in (_SOBEL, _SMOOTH))
    one = F.conv2d(F.pad(first, (2, 2, 2, 2)), second.flip(2, 3))
    x = torch.from_numpy(photo.unit)[None, None]
    edges = F.conv2d(x, first)
    both, single = F.conv2d(edges, second), F.conv2d(x, one)
    difference = float((both - single).abs().max())
    story.below("difference of two convolutions to one, without padding", difference, 1e-12)
    a, b = torch.randn(8, 5, generator=generator).double(), torch.randn(5, 6, generator=generator).double()
    v = torch.randn(10, 8, generator=generator).double()
    matrices = float(((v @ a) @ b - v @ (a @ b)).abs().max())
    story.below("difference of two matrices to their product", matrices, 1e-12)
    padded = F.conv2d(F.conv2d(x, first, padding=1), second, padding=1)
    whole = F.conv2d(x, one, padding=2)
    gap = (padded - whole)[0, 0].abs()
    inside = float(gap[1:-1, 1:-1].max())
    border = float(gap.max())
    story.below("difference with zero padding, inside", inside, 1e-12)
    if photo.is_reference:
        story.above("difference with zero padding, at the border", border, 0.01)
    bent = F.conv2d(edges.relu(), second)
    lost = float((bent - single).pow(2).mean().sqrt() / single.std().clamp_min(1e-12))
    if photo.is_reference:
        story.above("what a ReLU between them changes, over the deviation", lost, 0.5)
    limit = float(single.abs().flatten()[:: max(1, single.numel() // 100_000)].quantile(0.99)) or 1.0
    story.numbers |= {
        "kernels": {"first": first[0, 0].tolist(), "second": second[0, 0].tolist(), "one": one[0, 0].tolist()},
        "difference": difference,
        "matrices": matrices,
        "padded": {"inside": inside, "border": border},
        "with_relu": lost,
        "darkest_at": limit,
    }
    story.band(
        "On the photo",
        [
            f"Sobel and then a smoothing, or one 5 × 5 at once: the largest difference is {number(difference, '.1g')}, "
            f"rounding. Of two matrices and their product it is {number(matrices, '.1g')}."
        ],
        Shot(signed_picture(edges[0, 0].numpy(), limit / 16), "first layer: Sobel", ["16 times as dark"], 4),
        Shot(signed_picture(both[0, 0].numpy(), limit), "second layer: smoothed", [], 4),
        Shot(signed_picture(single[0, 0].numpy(), limit), "one layer of 5 × 5", [], 4),
        Shot(signed_picture((both - single)[0, 0].numpy(), limit), "their difference", ["nothing"], 4),
    )
    story.on_slide(26)
    story.band(
        "In small numbers",
        ["Slide one kernel over the other: two 3 × 3 are one 5 × 5, here OpenCV's larger Sobel."],
        Equation(
            [
                Grid(first[0, 0].numpy(), "Sobel", cell=36),
                "*",
                Grid(second[0, 0].numpy(), "smoothing", cell=36),
                "=",
                Grid(one[0, 0].numpy(), "one kernel", cell=36),
            ]
        ),
    )
    story.when_this_fails(
        [
            f"With a ReLU between them it is no linear layer: the negative edges are gone, and the map differs by "
            f"{percent(lost)} of its deviation. That is what activations are for.",
            f"Zero padding between the layers makes the outermost pixels differ, by up to {number(border, '.3g')} of a "
            f"scale to {number(limit, '.3g')}; inside it is rounding.",
        ],
        Shot(signed_picture(bent[0, 0].numpy(), limit), "with a ReLU between", [], 4),
        Shot(signed_picture((single - bent)[0, 0].numpy(), limit), "one layer, less that", ["what the ReLU took"], 4),
        Grid((gap[:12, :12] > 1e-9).double().numpy(), "padding: what differs, a corner", form="", cell=20),
    )
    return story
