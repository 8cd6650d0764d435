"""Dropout: masks, and the scale that keeps the mean."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from viztool.demos.photo import Photo
from viztool.demos.registry import demo
from viztool.demos.story import Story
from viztool.render.numbers import number
from viztool.render.panels import Bar, Bars, Grid, Shot


@demo("dropout", "What does dropout do?", claims=[28])
def dropout(photo: Photo, seed: int) -> Story:
    """Dropout of ones and of the photo, by pixel and by channel, in training and in evaluation."""
    story = Story()
    x = torch.from_numpy(photo.rgb.copy()).permute(2, 0, 1)[None].float() / 255
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        ones = F.dropout(torch.ones(512, 512), 0.5)
        small = F.dropout(torch.ones(8, 12), 0.5)
        pixels = F.dropout(x, 0.5)
        maps = F.dropout2d(torch.ones(1, 64, 6, 6), 0.5)[0]
        rates = {p: float((F.dropout(torch.ones(100_000), p) == 0).float().mean()) for p in (0.1, 0.5, 0.9)}
        means = {p: float(F.dropout(torch.ones(100_000), p).mean()) for p in (0.1, 0.5, 0.9)}
    values = ones.unique().tolist()
    story.equal("values of ones behind dropout ½", values, [0, 2])
    mean = float(ones.mean())
    story.near("their mean", mean, 1.0, 5 / 512)
    for p, rate in rates.items():
        story.near(f"share that dropout {number(p)} stops", rate, p, 5 * (p * (1 - p) / 100_000) ** 0.5)
        story.near(f"mean behind dropout {number(p)}", means[p], 1.0, 5 * (p / (1 - p) / 100_000) ** 0.5)
    whole = [len(each.unique()) for each in maps]
    story.equal("values in each channel behind Dropout2d", sorted(set(whole)), [1])
    dropped = int((maps.flatten(1) == 0).all(1).sum())
    still = nn.Dropout(0.5).eval()(x)
    off = float((still - x).abs().max())
    story.equal("what dropout changes in evaluation", off, 0.0)
    story.numbers |= {
        "values": values,
        "mean": mean,
        "stopped": {f"{p:g}": rate for p, rate in rates.items()},
        "means": {f"{p:g}": value for p, value in means.items()},
        "channels_dropped": dropped,
        "changes_in_evaluation": off,
        "small": small.tolist(),
    }
    story.band(
        "On the photo",
        ["Half of the values at random become 0, the others twice as large: on average it is the photo."],
        Shot(photo.rgb, "the photo", ["evaluation: nothing changes"], 4),
        Shot(
            (pixels[0].clamp(0, 1) * 255).byte().permute(1, 2, 0).contiguous().numpy(),
            "dropout ½",
            ["cut to [0, 1]"],
            4,
        ),
    )
    story.band(
        "In small numbers",
        [f"Ones behind dropout ½ are 0 or 2; the mean of 512 × 512 is {mean:.4f}."],
        Grid(small.numpy(), "ones behind dropout ½", cell=30),
        Bars(
            [Bar(f"p = {number(p)}", rate, f"{rate:.3f} stopped, mean {means[p]:.3f}") for p, rate in rates.items()],
            "Of 100,000",
            top=1.0,
        ),
    )
    story.numbers["counted"] = 100_000
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        colours = [F.dropout2d(x, 0.5)[0] for _ in range(3)]
    story.when_this_fails(
        [
            "Stopping alone would halve the mean, and evaluation would see twice what training saw: hence the scale "
            "1/(1 − p).",
            f"Neighbouring pixels of a map tell the same: dropping single ones hides little. Dropout2d drops whole "
            f"channels, here {dropped} of 64.",
        ],
        *(
            Shot(
                (each.clamp(0, 1) * 255).byte().permute(1, 2, 0).contiguous().numpy(),
                "Dropout2d ½",
                [f"draw {at + 1}"],
                4,
            )
            for at, each in enumerate(colours)
        ),
    )
    return story
