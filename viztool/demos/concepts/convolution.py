"""Convolution: multiply, sum, slide; and how large the output is."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from viztool.demos.kernel import correlate
from viztool.demos.photo import Photo
from viztool.demos.registry import demo
from viztool.demos.signal import strong
from viztool.demos.sliding import Sliding, parse_sliding
from viztool.demos.story import Story
from viztool.render.charts import Table
from viztool.render.grids import Equation, Grid
from viztool.render.numbers import number
from viztool.render.panels import Shot, signed_picture
from viztool.render.plot import BLUE, GREEN, ORANGE, Curve, Plot

_SOBEL = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], np.float64)


def output_side(n: int, kernel: int, stride: int, padding: int, dilation: int = 1) -> int:
    """⌊(n + 2p − d(f − 1) − 1)/s⌋ + 1."""
    return (n + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


@demo("convolution", "What does a convolution do?", claims=[1, 2], photo="rocket", moves=True)
def convolution(
    photo: Photo,
    seed: int,
    *,
    kernel: int = 3,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    transposed: bool = False,
    size: str = "7x7",
) -> Story:
    """Slides a kernel over a small input with real values; the options are those of the moving picture."""
    sliding = parse_sliding(photo, kernel, stride, padding, dilation, size, transposed=transposed)
    story = Story(notes=["As a .gif it moves: one frame for each step of the kernel."])
    story.movie = sliding
    _slide(story, sliding)
    _on_the_photo(story, photo)
    _sides(story)
    _fails(story, photo)
    return story


def _slide(story: Story, sliding: Sliding) -> None:
    """Three places of the kernel, worked out."""
    output, expected = sliding.output(), sliding.by_torch()
    worst = float(abs(output - expected).max())
    story.below("difference between the sum of the products and torch", worst, 1e-4)
    story.numbers["sliding"] = {
        "input": sliding.image,
        "kernel": sliding.kernel,
        "output": output,
        "difference_to_torch": worst,
        **sliding.settings,
    }
    steps = [0, output.size // 2, output.size - 1]
    worked = []
    panels = []
    for step in dict.fromkeys(steps):
        place = divmod(step, output.shape[1])
        patch, weights = sliding.under(*place)
        products = patch * weights
        total = float(products.sum())
        story.near(f"sum at output {place}", total, float(expected[place]), 1e-4)
        worked.append({"output": list(place), "patch": patch, "products": products, "sum": total})
        if max(patch.shape) <= 3:
            panels.append(
                Equation(
                    [
                        Grid(
                            patch,
                            "pixels under the kernel",
                            form=".3g",
                            white=99,
                            cell=36,
                            blank=sliding.zeros_under(*place),
                        ),
                        "×",
                        Grid(weights, "kernel", form=".3g", cell=36),
                        "=",
                        Grid(products, "products", form=".4g", cell=36),
                        f"→ Σ = {number(total, '.6g')}".replace("-", "−"),
                    ],
                    f"output row {place[0]}, column {place[1]}",
                )
            )
    story.numbers["worked"] = worked
    cell = max(16, min(34, 640 // (sliding.image.shape[1] + output.shape[1])))
    story.band(
        "In small numbers",
        [sliding.in_words(), "Multiply elementwise, then sum: without the sum there is no convolution."],
        Equation(
            [
                Grid(sliding.image, "input, a part of the photo", white=99, cell=cell),
                "→",
                Grid(output, "output", form=".4g", cell=cell),
            ],
            f"{sliding.image.shape[0]} × {sliding.image.shape[1]} → {output.shape[0]} × {output.shape[1]}",
        ),
        *panels[:2],
    )
    story.on_slide(1)


def _on_the_photo(story: Story, photo: Photo) -> None:
    """Libraries correlate: a true convolution flips the kernel, and Sobel's then changes its sign."""
    correlation = correlate(photo.grey, _SOBEL)
    convolved = correlate(photo.grey, _SOBEL[::-1, ::-1])
    difference = float(abs(convolved + correlation).max())
    story.equal("flipped-kernel Sobel plus correlation", difference, 0.0)
    limit = strong(correlation)
    story.numbers["flipped"] = {"difference_to_minus_the_correlation": difference, "darkest_at": limit}
    deeper = nn.Conv2d(3, 8, 3, padding=1, bias=False)
    same = deeper(torch.zeros(1, 3, 32, 32)).shape
    fewer = nn.Conv2d(8, 2, 3, padding=1)(torch.zeros(1, 8, 32, 32)).shape
    story.equal("a convolution that deepens and keeps the size", list(same), [1, 8, 32, 32])
    story.equal("a convolution that flattens and keeps the size", list(fewer), [1, 2, 32, 32])
    story.numbers["shapes"] = {"deepens": list(same), "flattens": list(fewer)}
    story.band(
        "Flipped or not",
        [
            "Libraries slide the kernel as it is: a correlation. A convolution of mathematics flips it first. Sobel's "
            f"then changes its sign, exactly: the difference is {number(difference)}."
        ],
        Shot(signed_picture(correlation, limit), "correlation (conv2d)", [f"darkest from {number(limit, '.4g')}"]),
        Shot(signed_picture(convolved, limit), "with the flipped kernel", ["the negative of it"]),
        Table(
            [
                ["layer, on 32 × 32", "channels", "output"],
                ["3 × 3, padding 1, 8 kernels", "3 → 8", "32 × 32"],
                ["3 × 3, padding 1, 2 kernels", "8 → 2", "32 × 32"],
            ],
            "Neither smaller nor deeper by itself",
        ),
    )


def _sides(story: Story) -> None:
    """The formula against torch, for every small case; and the named ones."""
    wrong = 0
    cases = 0
    for n in range(1, 20):
        for kernel in (1, 2, 3, 5):
            for stride in (1, 2, 3):
                for padding in (0, 1, 2):
                    for dilation in (1, 2):
                        if n + 2 * padding < dilation * (kernel - 1) + 1:
                            continue
                        x, w = torch.zeros(1, 1, 1, n), torch.zeros(1, 1, 1, kernel)
                        out = F.conv2d(x, w, stride=(1, stride), padding=(0, padding), dilation=(1, dilation))
                        wrong += out.shape[-1] != output_side(n, kernel, stride, padding, dilation)
                        cases += 1
    story.equal("cases in which the formula is not torch's", wrong, 0)
    rows = [["input", "kernel, stride, padding", "output"]]
    named = {}
    for n, expected in ((224, 112), (225, 113), (7, 4)):
        found = F.conv2d(torch.zeros(1, 1, n, n), torch.zeros(1, 1, 3, 3), stride=2, padding=1).shape[-1]
        story.equal(f"output of {n} with k3 s2 p1", found, expected)
        named[str(n)] = found
        rows.append([f"{n}", "3, 2, 1", f"{found}"])
    floor = F.max_pool2d(torch.zeros(1, 1, 7, 7), 2).shape[-1]
    up = F.max_pool2d(torch.zeros(1, 1, 7, 7), 2, ceil_mode=True).shape[-1]
    story.equal("output of 7 after a 2 × 2 pool, floor and ceil", [floor, up], [3, 4])
    rows += [["7", "pool 2, 2, 0", f"{floor}"], ["7", "pool 2, 2, 0, ceil mode", f"{up}"]]
    story.numbers["sides"] = {"cases": cases, "k3_s2_p1": named, "pool_of_7": {"floor": floor, "ceil": up}}
    inputs = np.arange(1, 33, dtype=np.float64)
    half, unpadded, dilated = (
        np.array([float(max(output_side(each, *settings), 0)) for each in range(1, 33)])
        for settings in ((3, 2, 1), (3, 2, 0), (3, 1, 0, 2))
    )
    story.equal("k3 s2 p1 gives ⌈n/2⌉", half.tolist(), np.ceil(inputs / 2).tolist())
    story.band(
        "How large the output is",
        [f"⌊(n + 2p − d(f − 1) − 1)/s⌋ + 1, the same as torch's in {cases} of {cases} cases."],
        Table(rows),
        Plot(
            [
                Curve(inputs, half, "k3 s2 p1: ⌈n/2⌉", BLUE, steps=True),
                Curve(inputs, unpadded, "k3 s2 p0", ORANGE, steps=True),
                Curve(inputs, dilated, "k3 d2", GREEN, steps=True),
            ],
            "Output side",
            "input side n",
            across=2,
            height=150,
        ),
    )


def _fails(story: Story, photo: Photo) -> None:
    """Without the sum; and sizes at which the last pixels are never read."""
    unread = {}
    rows = [["input side", "output side", "pixels at the end never read"]]
    for n in (7, 8, 9, 10):
        used = torch.zeros(1, 1, 1, n, requires_grad=True)
        F.conv2d(used, torch.ones(1, 1, 1, 3), stride=(1, 3)).sum().backward()
        assert used.grad is not None
        lost = int((used.grad == 0).sum())
        side = output_side(n, 3, 3, 0)
        story.equal(f"pixels of {n} never read by k3 s3", lost, n - 3 * side)
        unread[str(n)] = {"output": side, "never_read": lost}
        rows.append([f"{n}", f"{side}", f"{lost}"])
    story.numbers["never_read"] = unread
    story.when_this_fails(
        [
            "“Shrinks and deepens” is a choice, not a law: padding keeps the size, and the number of kernels is the "
            "number of channels.",
            "“Halves” is rounded up, and where the stride does not fit, floor leaves the last pixels out.",
        ],
        Table(rows, "Kernel 3, stride 3, no padding"),
    )
