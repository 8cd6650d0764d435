"""1 × 1 convolution: it mixes channels, and knows nothing of places."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from viztool.demos.photo import Photo
from viztool.demos.registry import demo
from viztool.demos.story import Story
from viztool.render.charts import Bar, Bars, Table
from viztool.render.grids import Equation, Grid
from viztool.render.numbers import number, percent
from viztool.render.panels import Shot

_SIDE = 28
_MIX = torch.tensor([[0.2, 0.7, 0.1], [-0.3, 0.9, 0.4], [0.9, -0.2, 0.3]])


@demo("pointwise", "What does a 1 × 1 convolution do?", claims=[3], photo="coffee")
def pointwise(photo: Photo, seed: int) -> Story:
    """Mixes the photo's colours, compares with a linear layer, shuffles the pixels, and counts multiply-adds."""
    story = Story()
    x = torch.from_numpy(photo.rgb.copy()).permute(2, 0, 1)[None].float() / 255
    mixed = F.conv2d(x, _MIX[:, :, None, None])
    linear = (x.permute(0, 2, 3, 1) @ _MIX.T).permute(0, 3, 1, 2)
    difference = float((mixed - linear).abs().max())
    story.below("difference to a linear layer at every pixel", difference, 1e-6)

    order = torch.randperm(x[0, 0].numel(), generator=torch.Generator().manual_seed(seed))
    shuffled = x.flatten(2)[..., order].view_as(x)
    after = F.conv2d(shuffled, _MIX[:, :, None, None])
    commutes = float((after - mixed.flatten(2)[..., order].view_as(mixed)).abs().max())
    story.below("difference between shuffling before and after", commutes, 1e-6)

    row, column = photo.rgb.shape[0] // 2, photo.rgb.shape[1] // 2
    pixel = x[0, :, row, column]
    result = _MIX @ pixel
    story.below("difference at the pixel worked out", float((result - mixed[0, :, row, column]).abs().max()), 1e-6)
    story.numbers |= {
        "difference_to_linear": difference,
        "difference_when_shuffled": commutes,
        "mix": _MIX.tolist(),
        "pixel": {"row": row, "column": column, "in": pixel.tolist(), "out": result.tolist()},
    }
    story.band(
        "On the photo",
        ["Each output channel is a weighted sum of the red, the green and the blue of that pixel alone."],
        *(
            Shot((picture[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy(), name, lines)
            for picture, name, lines in (
                (x, "the photo", []),
                (mixed, "after the 1 × 1", ["cut to [0, 1]"]),
                (shuffled, "pixels shuffled", []),
                (after, "shuffled, then 1 × 1", [f"= 1 × 1, then shuffled: {number(commutes, '.1g')}"]),
            )
        ),
    )
    story.band(
        "In small numbers",
        [
            f"The pixel at row {row}, column {column}. This is a fully connected layer from 3 to 3, the same one at "
            f"every pixel; the difference to torch's is {number(difference, '.1g')}."
        ],
        Equation(
            [
                Grid(_MIX.numpy(), "weights", form=".1f", cell=42),
                "·",
                Grid(pixel[:, None].numpy(), "pixel", form=".3f", cell=42, limit=3),
                "=",
                Grid(result[:, None].numpy(), "output", form=".3f", cell=42, limit=3),
            ]
        ),
    )
    direct, squeezed = (
        _macs(nn.Conv2d(192, 32, 5, padding=2)),
        _macs(nn.Sequential(nn.Conv2d(192, 16, 1), nn.Conv2d(16, 32, 5, padding=2))),
    )
    story.equal("multiply-adds of 5 × 5, 192 → 32, on 28²", direct, 120_422_400)
    story.equal("multiply-adds through 16 channels", squeezed, 12_443_648)
    story.numbers["macs"] = {"direct": direct, "through_16": squeezed, "share": squeezed / direct}
    story.band(
        "What it saves",
        [f"Fewer channels before the expensive kernel: {percent(squeezed / direct, 1)} of the multiply-adds."],
        Bars(
            [
                Bar("5 × 5, 192 → 32", direct, f"{direct:,}"),
                Bar("1 × 1 to 16, then 5 × 5", squeezed, f"{squeezed:,}"),
            ],
            "Multiply-adds on 28 × 28",
        ),
    )
    _fails(story, photo)
    return story


def _macs(net: nn.Module) -> int:
    """Of convolutions on a 28 × 28 plane whose sides stay: weights times pixels."""
    return sum(each.weight.numel() * _SIDE**2 for each in net.modules() if isinstance(each, nn.Conv2d))


def _fails(story: Story, photo: Photo) -> None:
    one, whole = 192 * 32, (192 * _SIDE**2) * (32 * _SIDE**2)
    story.equal("weights of a 1 × 1, 192 → 32", nn.Conv2d(192, 32, 1, bias=False).weight.numel(), one)
    kernel = torch.full((1, 1, 3, 3), 1 / 9)
    grey = torch.from_numpy(photo.unit).float()[None, None]
    order = torch.randperm(grey.numel(), generator=torch.Generator().manual_seed(0))
    shuffled = grey.flatten()[order].view_as(grey)
    before, after = F.conv2d(shuffled, kernel, padding=1), F.conv2d(grey, kernel, padding=1)
    differs = float((before - after.flatten()[order].view_as(after)).abs().mean())
    if photo.is_reference:
        story.above("difference when pixels are shuffled before a 3 × 3", differs, 0.05)
    story.numbers["fails"] = {"weights": one, "weights_whole_plane": whole, "difference_3x3_when_shuffled": differs}
    story.when_this_fails(
        [
            "It equals a fully connected layer per pixel. One over the whole plane has a weight for every pair of "
            "places.",
            f"A 3 × 3 does care where a pixel is: shuffled before or after, its output differs by {differs:.3f} on "
            "average.",
        ],
        Table(
            [
                ["192 → 32 channels on 28 × 28", "weights"],
                ["1 × 1 convolution", f"{one:,}"],
                ["fully connected over the plane", f"{whole:,}"],
            ]
        ),
    )
