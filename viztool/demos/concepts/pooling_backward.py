"""Pooling backward: where the gradient goes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from viztool.demos.photo import Photo
from viztool.demos.registry import demo
from viztool.demos.story import Story
from viztool.render.grids import Equation, Grid
from viztool.render.numbers import number
from viztool.render.panels import Shot, signed_picture


def received(x: Tensor, pool: Callable[[Tensor], Tensor]) -> Tensor:
    """(H, W): the gradient that each pixel gets when every output gets 1."""
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(pool(leaf).sum(), leaf)
    return gradient[0, 0]


@demo("pooling-backward", "Where does pooling send the gradient?", claims=[21], photo="cat")
def pooling_backward(photo: Photo, seed: int) -> Story:
    """Gradients of max and mean pooling with and without overlap, ties and padding."""
    story = Story(notes=["Every output gets a gradient of 1."])
    small = torch.from_numpy(np.rint(photo.grey[20:24, 20:24]).astype(np.float64))[None, None]
    to_max, to_mean = received(small, lambda x: F.max_pool2d(x, 2)), received(small, lambda x: F.avg_pool2d(x, 2))
    story.equal("sum of what max sends to 4 × 4, for 4 outputs", float(to_max.sum()), 4.0)
    story.equal("sum of what the mean sends", float(to_mean.sum()), 4.0)
    story.equal("what the mean gives each", to_mean.unique().tolist(), [0.25])
    story.numbers["small"] = {"pixels": small[0, 0].tolist(), "max": to_max.tolist(), "mean": to_mean.tolist()}
    story.band(
        "In small numbers",
        ["Pixels of the photo in four blocks: max gives each winner 1, the mean gives every pixel ¼. Both sum to 4."],
        Equation(
            [
                Grid(small[0, 0].numpy(), "pixels", limit=1e9),
                "→",
                Grid(to_max.numpy(), "gradient of max 2"),
                "",
                Grid(to_mean.numpy(), "gradient of mean 2"),
            ]
        ),
    )
    grey = torch.from_numpy(photo.unit)[None, None][..., :64, :64]
    maps = {
        "max, k2 s2": received(grey, lambda x: F.max_pool2d(x, 2)),
        "max, k3 s2": received(grey, lambda x: F.max_pool2d(x, 3, 2)),
        "mean, k3 s2": received(grey, lambda x: F.avg_pool2d(x, 3, 2)),
    }
    largest = {name: float(values.max()) for name, values in maps.items()}
    story.equal("largest gradient of max, k2 s2", largest["max, k2 s2"], 1.0)
    story.numbers["photo"] = {"largest": largest}
    story.band(
        "On the photo",
        ["What each of 64 × 64 pixels gets. Darker is more."],
        *(
            Shot(signed_picture(values.numpy(), 2.0), name, [f"largest {number(largest[name], '.4g')}"], 4)
            for name, values in maps.items()
        ),
    )
    tie = received(torch.ones(1, 1, 2, 2), lambda x: F.max_pool2d(x, 2))
    story.equal("gradient of a tie", tie.tolist(), [[1, 0], [0, 0]])
    peak = torch.zeros(1, 1, 5, 5)
    peak[0, 0, 2, 2] = 1
    twice = received(peak[..., :3, :], lambda x: F.max_pool2d(x, 3, 2))
    story.equal("most that a pixel gets from overlapping windows in a row", float(twice.max()), 2.0)
    padded = received(torch.zeros(1, 1, 9, 9), lambda x: F.avg_pool2d(x, 3, 2, 1))
    outputs = F.avg_pool2d(torch.zeros(1, 1, 9, 9), 3, 2, 1).numel()
    total = float(padded.sum())
    story.equal("outputs of mean k3 s2 p1 on 9 × 9", outputs, 25)
    story.near("what the pixels get of these", total, 18.78, 0.005)
    story.numbers["fails"] = {
        "tie": tie.tolist(),
        "overlap": twice.tolist(),
        "padded": padded.tolist(),
        "padded_sum": total,
        "outputs": outputs,
    }
    story.when_this_fails(
        [
            "Of equal pixels the first takes all. Where windows overlap, one pixel can win twice and get 2.",
            f"With padding a part of the mean's gradient goes to the zeros: k3 s2 p1 on 9 × 9 has {outputs} "
            f"outputs, and the pixels get {total:.2f}.",
        ],
        Grid(tie.numpy(), "a tie of four", cell=36),
        Grid(twice.numpy(), "k3 s2, one peak", cell=36),
        Grid(padded.numpy(), "mean, k3 s2 p1", [f"sum {total:.2f} of {outputs}"], form=".2f", cell=36),
    )
    return story
