"""Dilation: a wide field with few weights, and what it never looks at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from viztool.demos.kernel import Array, correlate
from viztool.demos.photo import Photo
from viztool.demos.registry import demo
from viztool.demos.signal import strong
from viztool.demos.story import Story
from viztool.render.grids import Equation, Grid
from viztool.render.numbers import number, percent
from viztool.render.panels import Panel, Shot, signed_picture

_SOBEL = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], np.float64)


def paths(dilations: Sequence[int]) -> Tensor:
    """(n, n): in how many ways each pixel of the field reaches the middle, through 3 × 3 of these dilations."""
    reach = sum(dilations)
    x = torch.zeros(1, 1, 2 * reach + 1, 2 * reach + 1, requires_grad=True)
    y = x
    for dilation in dilations:
        y = F.conv2d(y, torch.ones(1, 1, 3, 3), dilation=dilation)
    (counts,) = torch.autograd.grad(y.sum(), x)
    return counts[0, 0]


@demo("dilation", "What does a dilated kernel see?", claims=[4], photo="camera")
def dilation(photo: Photo, seed: int) -> Story:
    """Touched pixels of single and of stacked dilated kernels, and Sobel's dilated on the photo."""
    story = Story()
    _on_the_photo(story, photo)
    share = 9 / 25
    found: dict[str, dict[str, float]] = {}
    panels: list[Panel] = []
    for name, dilations, touched, field in (
        ("one, d = 2", (2,), 9, 25),
        ("d = 2, then d = 2", (2, 2), 25, 81),
        ("d = 2, three times", (2, 2, 2), 49, 169),
        ("d = 1, 2, 3", (1, 2, 3), 169, 169),
    ):
        counts = paths(dilations)
        story.equal(f"pixels touched by {name}", [int((counts > 0).sum()), counts.numel()], [touched, field])
        found[name] = {"touched": touched, "field": field, "share": touched / field}
        side = counts.shape[0]
        panels.append(
            Grid(
                counts.numpy(),
                name,
                [f"touches {touched} of {field}: {percent(touched / field)}"],
                form="g" if side <= 9 else "",
                cell={5: 36, 9: 22}.get(side, 14),
                width=190,
            )
        )
    kept = F.conv2d(torch.zeros(1, 1, 20, 20), torch.zeros(1, 1, 3, 3), dilation=2, padding=2).shape[-1]
    small = F.conv2d(torch.zeros(1, 1, 20, 20), torch.zeros(1, 1, 3, 3), dilation=2, padding=1).shape[-1]
    story.equal("side of 20 after d = 2 with p = 2 and with p = 1", [kept, small], [20, 18])
    story.numbers |= {"weights_share": share, "touched": found, "side_of_20": {"p=2": kept, "p=1": small}}
    story.band(
        "What is touched",
        [
            f"A 3 × 3 with dilation 2 covers 5 × 5 with 9 of 25 weights, {percent(share)}. In how many ways a pixel "
            "of the field reaches the middle; white is in none.",
            f"The size is kept with padding 2: 20 stays {kept}. With padding 1 it becomes {small}.",
        ],
        *panels[:2],
    )
    _small_numbers(story, photo)
    story.when_this_fails(
        [
            "A stack of one dilation leaves a grid of holes: three times d = 2 sees "
            f"{percent(found['d = 2, three times']['share'])} of its field.",
            "Different dilations, 1, 2, 3, see all of it.",
        ],
        *panels[2:],
    )
    return story


def dilated(kernel: Array, dilation: int) -> Array:
    """The kernel with zeros between its weights."""
    wide = np.zeros([dilation * (side - 1) + 1 for side in kernel.shape])
    wide[::dilation, ::dilation] = kernel
    return wide


def _on_the_photo(story: Story, photo: Photo) -> None:
    panels: list[Panel] = []
    limits = {}
    worst = 0.0
    for step in (1, 2, 4, 8):
        out = correlate(photo.grey, dilated(_SOBEL, step))
        x = torch.from_numpy(np.pad(photo.grey.astype(np.float64), step, mode="reflect"))[None, None]
        by_torch = F.conv2d(x, torch.from_numpy(_SOBEL)[None, None], dilation=step)[0, 0].numpy()
        worst = max(worst, float(abs(out - by_torch).max()))
        limits[str(step)] = strong(out)
        lines = [
            f"field {2 * step + 1} × {2 * step + 1}, 9 weights",
            f"darkest from {number(limits[str(step)], '.4g')}",
        ]
        panels.append(Shot(signed_picture(out, limits[str(step)]), f"dilation {step}", lines, 4))
    story.equal("difference between zeros in the kernel and dilation", worst, 0.0)
    story.numbers["photo"] = {"darkest_at": limits, "difference_to_zeros_in_the_kernel": worst}
    story.band(
        "On the photo",
        [f"Sobel's kernel with gaps. The same as a larger kernel with zeros in it: the difference is {number(worst)}."],
        *panels,
    )


def _small_numbers(story: Story, photo: Photo) -> None:
    size = abs(correlate(photo.grey, dilated(_SOBEL, 2)))[2:-2, 2:-2]
    row, column = np.unravel_index(int(size.argmax()), size.shape)
    patch = photo.grey[row : row + 5, column : column + 5].astype(np.float64)
    kernel = dilated(_SOBEL, 2)
    total = float((patch * kernel).sum())
    story.near("sum of the products", abs(total), float(size[row, column]), 1e-9)
    marked = [(down, across) for down in (0, 2, 4) for across in (0, 2, 4)]
    story.numbers["worked"] = {
        "row": int(row) + 2,
        "column": int(column) + 2,
        "patch": patch,
        "kernel": kernel,
        "sum": total,
    }
    story.band(
        "In small numbers",
        [f"At row {row + 2}, column {column + 2}. The framed pixels are read, the other sixteen never."],
        Equation(
            [
                Grid(patch, "patch", limit=1e9, marked=marked, cell=34),
                "×",
                Grid(kernel, "kernel, d = 2", cell=34),
                f"→ Σ = {total:.0f}".replace("-", "−"),
            ]
        ),
    )
