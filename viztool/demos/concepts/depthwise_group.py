"""Groups and depthwise convolutions: which channels a channel is made of."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from viztool.demos.photo import Photo
from viztool.demos.registry import demo
from viztool.demos.story import Story
from viztool.render.charts import Bar, Bars, Table
from viztool.render.grids import Grid
from viztool.render.numbers import percent
from viztool.render.panels import Panel, Shot, grey_picture

_TAPS = 25
_PART = 200


def connectivity(layer: nn.Conv2d) -> Tensor:
    """(C_out, C_in): 1 where an output channel depends on an input channel."""
    with torch.no_grad():
        layer.weight.fill_(1.0)
    x = torch.zeros(1, layer.in_channels, 3, 3, requires_grad=True)
    y = layer(x)
    rows = [
        torch.autograd.grad(y[0, at].sum(), x, retain_graph=True)[0][0].sum((1, 2)) for at in range(layer.out_channels)
    ]
    return (torch.stack(rows) != 0).float()


@demo("depthwise-group", "What do groups save, and what do they cost?", claims=[7, 8], photo="astronaut")
def depthwise_group(photo: Photo, seed: int) -> Story:
    """Connectivity, weights, and depthwise kernels on the photo's three channels."""
    story = Story()
    whole = nn.Conv2d(64, 128, 3)
    parts = nn.Conv2d(64, 128, 3, groups=4)
    depthwise = nn.Conv2d(64, 64, 3, groups=64)
    expanding = nn.Conv2d(64, 128, 3, groups=64)
    counts = {
        "one group": (whole.weight.numel(), whole.bias.numel() if whole.bias is not None else 0),
        "4 groups": (parts.weight.numel(), 128),
        "depthwise, 64 → 64": (depthwise.weight.numel(), 64),
        "depthwise, 64 → 128": (expanding.weight.numel(), 128),
    }
    story.equal("weights of 64 → 128, 3 × 3", counts["one group"][0], 73_728)
    story.equal("the same in 4 groups", counts["4 groups"][0], 18_432)
    story.equal("depthwise weights of 64 channels", counts["depthwise, 64 → 64"][0], 576)
    story.equal("depthwise 64 → 128 puts out", expanding(torch.zeros(1, 64, 3, 3)).shape[1], 128)
    story.equal("its weights, for each 64 kernels", counts["depthwise, 64 → 128"][0] // 2, 576)
    story.equal("biases, in one group and in 4", [counts["one group"][1], counts["4 groups"][1]], [128, 128])
    story.numbers["weights"] = {
        name: {"weights": weights, "biases": biases} for name, (weights, biases) in counts.items()
    }
    _on_the_photo(story, photo)
    panels: list[Panel] = []
    blocks = {}
    for name, groups, out in (("1 group", 1, 8), ("2 groups", 2, 8), ("4 groups", 4, 8), ("depthwise", 8, 8)):
        matrix = connectivity(nn.Conv2d(8, out, 3, groups=groups, bias=False))
        expected = torch.block_diag(*[torch.ones(out // groups, 8 // groups)] * groups)
        story.equal(f"connections of {name}", matrix.tolist(), expected.tolist())
        share = float(matrix.mean())
        story.equal(f"share of the connections with {name}", share, 1 / groups)
        blocks[name] = share
        panels.append(
            Grid(
                matrix.numpy(),
                name,
                [f"{percent(share, 1)} of the connections"],
                form="",
                cell=22,
            )
        )
    story.numbers["connections"] = blocks
    story.band(
        "Who is made of whom",
        ["A row is an output channel, a column an input channel: red where one depends on the other."],
        *panels,
    )
    story.band(
        "What it saves",
        ["In G groups there is 1/G of the weights. The biases stay."],
        Bars([Bar(name, weights, f"{weights:,}") for name, (weights, _) in counts.items()], "Weights, 3 × 3"),
        Table([["", "weights", "biases"], *([name, f"{a:,}", f"{b}"] for name, (a, b) in counts.items())]),
    )
    matrix = connectivity(nn.Conv2d(4, 8, 3, groups=4, bias=False))
    twice = connectivity(nn.Conv2d(8, 8, 3, groups=2, bias=False)) @ connectivity(
        nn.Conv2d(8, 8, 3, groups=2, bias=False)
    )
    never = float((twice == 0).float().mean())
    story.equal("share of channels that two layers in 2 groups never mix", never, 0.5)
    story.numbers["fails"] = {"never_mixed": never}
    story.when_this_fails(
        [
            "“Cannot expand”: with groups = C_in and m kernels for each channel it puts out m · C_in, here 4 → 8.",
            f"The price of groups: however many layers of 2 groups one stacks, {percent(never)} of the "
            "pairs of channels never meet. A 1 × 1 or a shuffle has to mix them.",
        ],
        Grid(matrix.numpy(), "depthwise, 4 → 8", ["two kernels for each channel"], form="", cell=22),
        Grid((twice > 0).float().numpy(), "2 groups, then 2 groups", ["still two blocks"], form="", cell=22),
    )
    return story


def _on_the_photo(story: Story, photo: Photo) -> None:
    """A kernel of its own for each colour."""
    side = min(_PART, *photo.rgb.shape[:2])
    top, left = (photo.rgb.shape[0] - side) // 8, (photo.rgb.shape[1] - side) // 2
    part = np.ascontiguousarray(photo.rgb[top : top + side, left : left + side])
    x = torch.from_numpy(part).permute(2, 0, 1)[None].float()
    kernels = torch.zeros(3, 1, _TAPS, _TAPS)
    kernels[0, 0, _TAPS // 2, :] = 1 / _TAPS
    kernels[1, 0, _TAPS // 2, _TAPS // 2] = 1
    kernels[2, 0, :, _TAPS // 2] = 1 / _TAPS
    padded = nn.functional.pad(x, (_TAPS // 2,) * 4, mode="reflect")
    out = nn.functional.conv2d(padded, kernels, groups=3)
    same = float((out[:, 1] - x[:, 1]).abs().max())
    story.equal("difference of the channel whose kernel is one pixel", same, 0.0)
    story.numbers["photo"] = {"difference_of_green": same, "taps": _TAPS, "side": side}
    told = zip(("red, smeared sideways", "green, left alone", "blue, smeared up and down"), out[0], strict=True)
    story.band(
        "On the photo",
        [
            f"One kernel of {_TAPS} × {_TAPS} for each colour: no colour gets anything from another. Put together, the "
            "three no longer fit."
        ],
        Shot(part, "a part of the photo", []),
        *(Shot(grey_picture(channel.numpy(), 0, 255), name, []) for name, channel in told),
        Shot(
            out[0].round().clamp(0, 255).byte().permute(1, 2, 0).contiguous().numpy(),
            "the three together",
            ["colours come apart at the edges"],
        ),
    )
    story.on_slide(7)
