"""A stack of linear layers is one linear layer."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from viztool.demos.photo import Photo
from viztool.demos.registry import demo
from viztool.demos.story import Story
from viztool.render.numbers import number, percent
from viztool.render.panels import Equation, Grid, Shot, signed_picture


@demo("linear-stack", "Are two linear layers more than one?", claims=[26])
def linear_stack(photo: Photo, seed: int) -> Story:
    """Two convolutions as one kernel, on the photo, with zero padding and with a ReLU between them."""
    story = Story()
    generator = torch.Generator().manual_seed(seed)
    first = torch.randint(-2, 3, (1, 1, 3, 3), generator=generator).double()
    second = torch.randint(-2, 3, (1, 1, 3, 3), generator=generator).double()
    one = F.conv2d(F.pad(first, (2, 2, 2, 2)), second.flip(2, 3))
    x = torch.from_numpy(photo.unit)[None, None]
    both, single = F.conv2d(F.conv2d(x, first), second), F.conv2d(x, one)
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
    bent = F.conv2d(F.conv2d(x, first).relu(), second)
    lost = float((bent - single).pow(2).mean().sqrt() / single.std().clamp_min(1e-12))
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
        "In small numbers",
        ["Slide one kernel over the other: two 3 × 3 are one 5 × 5."],
        Equation(
            [
                Grid(first[0, 0].numpy(), "first", cell=36),
                "*",
                Grid(second[0, 0].numpy(), "second", cell=36),
                "=",
                Grid(one[0, 0].numpy(), "one kernel", cell=36),
            ]
        ),
    )
    story.band(
        "On the photo",
        [
            f"One after the other, or at once: the difference is {number(difference, '.1e')}. Of two matrices and "
            f"their product {number(matrices, '.1e')}."
        ],
        Shot(signed_picture(both[0, 0].numpy(), limit), "two layers", [f"darkest from {number(limit, '.3g')}"], 4),
        Shot(signed_picture(single[0, 0].numpy(), limit), "one layer", [], 4),
    )
    corner = gap[:12, :12]
    story.when_this_fails(
        [
            f"Zero padding between the layers makes the outermost pixels differ, here by up to "
            f"{number(border, '.3g')}; inside "
            f"it is {number(inside, '.1e')}.",
            f"A ReLU between them, and it is no linear layer: {percent(lost)} of the deviation differs. That is what "
            f"activations are for.",
        ],
        Grid((corner > 1e-9).double().numpy(), "differs: the corner at the top left", form="", cell=18),
        Shot(signed_picture(bent[0, 0].numpy(), limit), "with a ReLU between", [], 4),
    )
    return story
