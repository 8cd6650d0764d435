"""Transposed convolution: the size comes back, the values do not."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from viztool.demos.photo import Photo
from viztool.demos.registry import demo
from viztool.demos.signal import psnr
from viztool.demos.story import Story
from viztool.render.charts import Table
from viztool.render.grids import Equation, Grid
from viztool.render.numbers import number
from viztool.render.panels import Panel, Shot, grey_picture, signed_picture

_AMPLIFIED = 8  # the error on the sheet: as it is, one would not see it
_CASES = ((3, 2, 1, 1), (4, 2, 1, 0), (5, 3, 2, 1), (3, 1, 0, 0))


def by_zero_insertion(x: Tensor, weight: Tensor, stride: int, padding: int, output_padding: int) -> Tensor:
    """conv_transpose2d in three steps: zeros between the pixels, zeros around them, then the flipped kernel."""
    n, channels, h, w = x.shape
    spread = x.new_zeros(n, channels, (h - 1) * stride + 1, (w - 1) * stride + 1)
    spread[..., ::stride, ::stride] = x
    edge = weight.shape[-1] - 1 - padding
    framed = F.pad(spread, (edge, edge + output_padding, edge, edge + output_padding))
    return F.conv2d(framed, weight.flip(2, 3).transpose(0, 1))


@demo("transposed", "Does a transposed convolution invert a convolution?", claims=[10], photo="camera")
def transposed(photo: Photo, seed: int) -> Story:
    """Down by a convolution and up by its transpose; then the transpose by zeros and a flipped kernel."""
    story = Story(notes=["PSNR, in decibels, is against the photo: higher is better."])
    generator = torch.Generator().manual_seed(seed)
    x = torch.from_numpy(photo.unit)[None, None]
    x = x[..., : x.shape[-2] // 2 * 2, : x.shape[-1] // 2 * 2]
    weight = torch.outer(torch.tensor([1.0, 2, 1]), torch.tensor([1.0, 2, 1]))[None, None].double() / 16
    down = F.conv2d(x, weight, stride=2, padding=1)
    back = F.conv_transpose2d(down, weight, stride=2, padding=1, output_padding=1)
    same_size = back.shape == x.shape
    story.equal("whether the size comes back", same_size, True)
    error = float((back - x).abs().mean())
    back_db, best_db = psnr(back[0, 0].numpy(), x[0, 0].numpy()), psnr((4 * back)[0, 0].numpy(), x[0, 0].numpy())
    if photo.is_reference:
        story.above("mean difference of what comes back", error, 0.1)
    story.numbers["photo"] = {"mean_difference": error, "psnr": back_db, "psnr_times_4": best_db}
    rest = float((4 * back - x).abs().mean())
    story.numbers["photo"]["mean_difference_times_4"] = rest
    story.band(
        "On the photo",
        [
            "Down by a binomial 3 × 3 with stride 2, then up by its transpose. The size is back, the values are "
            f"off by {error:.3f} on average, of a scale from 0 to 1.",
            f"Made 4 times as bright it looks right, and is not: {rest:.3f} off on average, at every edge.",
        ],
        Shot(grey_picture(x[0, 0].numpy(), 0, 1), "the photo", [f"{x.shape[-1]} × {x.shape[-2]}"], 5),
        Shot(grey_picture(down[0, 0].numpy(), 0, 1), "convolved", [f"{down.shape[-1]} × {down.shape[-2]}"], 5),
        Shot(
            grey_picture(back[0, 0].numpy(), 0, 1),
            "transposed back",
            [f"{back.shape[-1]} × {back.shape[-2]}, PSNR {back_db:.2f} dB"],
            5,
        ),
        Shot(grey_picture(4 * back[0, 0].numpy(), 0, 1), "the same, times 4", [f"PSNR {best_db:.2f} dB"], 5),
        Shot(
            signed_picture((4 * back - x)[0, 0].numpy(), 1 / _AMPLIFIED),
            "what is wrong with it",
            [f"{_AMPLIFIED} times as strong"],
            5,
        ),
    )
    story.on_slide(10)
    small = torch.tensor([[1.0, 2], [3, 4]])[None, None]
    kernel = torch.tensor([[1.0, 2, 0], [0, 3, 1], [1, 0, 2]])[None, None]
    spread = torch.zeros(7, 7)
    spread[2:5:2, 2:5:2] = small[0, 0]
    out = F.conv_transpose2d(small, kernel, stride=2)
    story.equal("the small case by zero insertion", by_zero_insertion(small, kernel, 2, 0, 0).tolist(), out.tolist())
    story.numbers["small"] = {
        "input": small[0, 0].tolist(),
        "kernel": kernel[0, 0].tolist(),
        "output": out[0, 0].tolist(),
    }
    story.band(
        "In small numbers",
        [
            "Zeros go between and around the pixels, then the flipped kernel slides over them. viztool demo "
            "convolution --transposed shows it moving."
        ],
        Equation(
            [
                Grid(small[0, 0].numpy(), "input", cell=32),
                "→",
                Grid(spread.numpy(), "with zeros, stride 2", cell=32),
                "*",
                Grid(kernel[0, 0].flip(0, 1).numpy(), "kernel, flipped", cell=32),
                "=",
                Grid(out[0, 0].numpy(), "output", cell=32),
            ]
        ),
    )
    rows = [["kernel, stride, padding, output padding", "largest difference to torch"]]
    found = {}
    for k, s, p, extra in _CASES:
        maps, weights = torch.randn(2, 4, 7, 6, generator=generator), torch.randn(4, 3, k, k, generator=generator)
        mine = by_zero_insertion(maps, weights, s, p, extra)
        theirs = F.conv_transpose2d(maps, weights, stride=s, padding=p, output_padding=extra)
        worst = float((mine - theirs).abs().max())
        story.below(f"zero insertion, k{k} s{s} p{p} op{extra}", worst, 3e-5)
        found[f"k{k} s{s} p{p} op{extra}"] = worst
        rows.append([f"{k}, {s}, {p}, {extra}", number(worst, ".2g")])
    story.numbers["zero_insertion"] = found
    story.band("The same as torch's", ["Float32, random maps and kernels."], Table(rows))
    a, b = torch.randn(1, 3, 9, 9, generator=generator).double(), torch.randn(1, 4, 4, 4, generator=generator).double()
    w = torch.randn(4, 3, 3, 3, generator=generator).double()
    left = float((F.conv2d(a, w, stride=2) * b).sum())
    right = float((a * F.conv_transpose2d(b, w, stride=2)).sum())
    story.near("⟨Wa, b⟩ and ⟨a, Wᵀb⟩", left, right, 1e-9 * max(1.0, abs(right)))
    story.numbers["adjoint"] = {"left": left, "right": right}
    story.when_this_fails(
        [
            "It is the transpose of the matrix, not its inverse: what a stride or a smoothing threw away stays away.",
            f"What does hold: (Wa)·b = a·(W'b), W' the transpose: here {left:.4f} and {right:.4f}. That is why it is "
            "a convolution's backward pass.",
        ],
        *_what_is_lost(story, generator),
    )
    return story


def _what_is_lost(story: Story, generator: torch.Generator) -> list[Panel]:
    """Two inputs of one output: whatever came back, it would be wrong for one of them."""
    weight = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]])[None, None]
    one = torch.randint(0, 10, (1, 1, 5, 5), generator=generator).float()
    matrix = torch.stack([F.conv2d(unit.view(1, 1, 5, 5), weight, stride=2).flatten() for unit in torch.eye(25)], 1)
    lost = int(25 - torch.linalg.matrix_rank(matrix))
    # What the kernel does not see: it takes 1 2 1 of 1 −1 1 in both directions.
    unseen = torch.tensor([1.0, -1, 1, -1, 1])
    other = one + torch.outer(unseen, unseen)
    same = float((F.conv2d(one, weight, stride=2) - F.conv2d(other, weight, stride=2)).abs().max())
    story.equal("difference of the outputs of two inputs", same, 0.0)
    story.equal("dimensions of 5 × 5 that stride 2 loses", lost, 21)
    out = F.conv2d(one, weight, stride=2)[0, 0]
    story.numbers["lost"] = {"dimensions": lost, "of": 25, "one": one[0, 0].tolist(), "other": other[0, 0].tolist()}
    return [
        Equation(
            [
                Grid(one[0, 0].numpy(), "one input", limit=1e9, cell=30),
                "or",
                Grid(other[0, 0].numpy(), "another", limit=1e9, cell=30),
                "→",
                Grid(out.numpy(), "one output", limit=1e9, cell=44),
            ],
            "",
            [f"of 25 dimensions {lost} are lost: no layer can bring them back"],
        )
    ]
