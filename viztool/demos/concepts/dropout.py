"""Dropout: masks, and the scale that keeps the mean."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from viztool.demos.photo import Photo
from viztool.demos.registry import demo
from viztool.demos.story import Story
from viztool.render.charts import Bar, Bars
from viztool.render.colormaps import Picture
from viztool.render.grids import Grid
from viztool.render.numbers import number
from viztool.render.panels import Shot

_AVERAGED = 64
_COLOURS = {
    "red": torch.tensor([0.0, 1, 1]),
    "green and blue": torch.tensor([1.0, 0, 0]),
    "blue": torch.tensor([1.0, 1, 0]),
}


@demo("dropout", "What does dropout do?", claims=[28], photo="coffee")
def dropout(photo: Photo, seed: int) -> Story:
    """Dropout of ones and of the photo, by pixel and by channel, in training and in evaluation."""
    story = Story()
    x = torch.from_numpy(photo.rgb.copy()).permute(2, 0, 1)[None].float() / 255
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        ones = F.dropout(torch.ones(512, 512), 0.5)
        small = F.dropout(torch.ones(8, 12), 0.5)
        pixels = F.dropout(x, 0.5)
        average = torch.stack([F.dropout(x, 0.5) for _ in range(_AVERAGED)]).mean(0)
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
    off_average = float((average - x).abs().mean())
    story.below("what the mean of the draws is off, on average", off_average, _AVERAGED**-0.5)
    story.numbers |= {
        "mean_of_draws_off_by": off_average,
        "draws": _AVERAGED,
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
        [
            "Half of the values at random become 0, the others twice as large: on average it is the photo, as it is in "
            "evaluation.",
            "Drawn half as bright, so that what is twice as large can be seen.",
        ],
        Shot(_half(x), "evaluation: the photo", ["nothing changes"], 4),
        Shot(_half(pixels), "training: dropout ½", ["one draw"], 4),
        Shot(_half(average), f"the mean of {_AVERAGED} draws", [f"off by {off_average:.3f} on average"], 4),
    )
    story.on_slide(28)
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
    story.when_this_fails(
        [
            "Stopping alone would halve the mean, and evaluation would see twice what training saw: hence the scale "
            "1/(1 − p).",
            f"Neighbouring pixels of a map tell the same: dropping single ones hides little. Dropout2d drops whole "
            f"channels, here {dropped} of 64; of a photo's three it is a colour.",
        ],
        *(
            Shot(_half(x * kept.view(1, 3, 1, 1) * 2), f"Dropout2d ½: {name} dropped", [], 4)
            for name, kept in _COLOURS.items()
        ),
    )
    return story


def _half(x: torch.Tensor) -> Picture:
    """(1, 3, H, W) in [0, 2] as a picture in which 2 is white."""
    return np.ascontiguousarray((x[0].clamp(0, 2) * 127.5).round().byte().permute(1, 2, 0).numpy())
