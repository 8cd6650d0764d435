"""Pooling: parameters, ink, estimates, channels."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from viztool.demos.kernel import Array
from viztool.demos.photo import Photo
from viztool.demos.registry import demo
from viztool.demos.signal import blocks
from viztool.demos.story import Story
from viztool.render.charts import Bar, Bars, Table
from viztool.render.numbers import percent
from viztool.render.panels import Shot, grey_picture
from viztool.render.plot import BLUE, CHANCE, ORANGE, Curve, Plot


def page_of_ink(rng: np.random.Generator) -> Array:
    """(240, 240): 1 where there is ink, thin strokes as of handwriting."""
    page = np.zeros((240, 240), np.uint8)
    for line in range(10, 236, 12):
        x = 8
        while x < 222:
            points = rng.integers(-6, 7, (4, 2)) + np.array([[x, line], [x + 4, line], [x + 8, line], [x + 12, line]])
            cv2.polylines(page, [points.astype(np.int32)], False, 1, 1)
            x += int(rng.integers(11, 16))
    ink: Array = page.astype(np.float64)
    return ink


@demo("pooling", "What does pooling keep?", claims=[15, 16, 17, 22], photo="rocket")
def pooling(photo: Photo, seed: int) -> Story:
    """Counts parameters, pools ink of both polarities and noise, and spares a dense layer."""
    story = Story()
    rng = np.random.default_rng(seed)
    grey = photo.unit
    story.band(
        "On the photo",
        ["Each block of 8 × 8 pixels as its mean, its max, its min."],
        Shot(grey_picture(grey, 0, 1), "the photo", [], 4),
        *(
            Shot(grey_picture(f(blocks(grey, 8)), 0, 1), name, [], 4)
            for f, name in ((_mean, "mean"), (_max, "max"), (_min, "min"))
        ),
    )
    _parameters(story)
    _ink(story, rng)
    _noise(story, rng)
    _dense(story)
    return story


def _mean(parts: Array) -> Array:
    return np.asarray(parts.mean(-1))


def _max(parts: Array) -> Array:
    return np.asarray(parts.max(-1))


def _min(parts: Array) -> Array:
    return np.asarray(parts.min(-1))


def _parameters(story: Story) -> None:
    s2 = 6 * 2
    connections = 6 * 14 * 14 * (2 * 2 + 1)
    story.equal("parameters of LeNet-5's S2", s2, 12)
    story.equal("connections of LeNet-5's S2", connections, 5880)
    layers = (nn.MaxPool2d(2), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1))
    today = [sum(each.numel() for each in layer.parameters()) for layer in layers]
    story.equal("parameters of today's pooling layers", today, [0, 0, 0])
    channels = [layer(torch.zeros(1, 6, 28, 28)).shape[1] for layer in layers]
    story.equal("channels of 6 after pooling", channels, [6, 6, 6])
    story.numbers["parameters"] = {
        "lenet5_s2": s2,
        "lenet5_s2_connections": connections,
        "today": today,
        "channels": channels,
    }
    story.band(
        "Parameters",
        [
            "LeNet-5 scaled each block's sum by a weight and added a bias, for each of 6 maps. Today's pooling has "
            "nothing to learn, and keeps the channels."
        ],
        Table(
            [
                ["layer, 6 maps of 28 × 28", "parameters", "channels"],
                ["S2 of LeNet-5", f"{s2}", "6"],
                ["MaxPool2d", "0", "6"],
                ["AvgPool2d", "0", "6"],
            ],
            "",
            [f"S2 has {connections:,} connections: 14 × 14 × 6 outputs of 4 inputs and a bias"],
        ),
    )


def _ink(story: Story, rng: np.random.Generator) -> None:
    ink = page_of_ink(rng)
    share = float(ink.mean())
    bright, dark = ink, 1 - ink
    after = {
        "white ink": float(blocks(bright, 4).max(-1).mean()),
        "black ink": 1 - float(blocks(dark, 4).max(-1).mean()),
        "mean": float(blocks(bright, 4).mean(-1).mean()),
    }
    story.near("average that the mean keeps", after["mean"], share, 1e-12)
    story.below("black ink left by 4 × 4 max", after["black ink"], 0.005)
    story.above("white ink after 4 × 4 max, over before", after["white ink"] / share, 2.0)
    story.numbers["ink"] = {
        "before": share,
        "after_max": {key: after[key] for key in ("white ink", "black ink")},
        "after_mean": after["mean"],
        "paper_after_mean": 1 - after["mean"],
    }
    story.band(
        "Background or texture",
        [
            f"Strokes that cover {percent(share, 1)} of a page, 4 × 4 max: white ink becomes "
            f"{percent(after['white ink'], 1)}, black ink {percent(after['black ink'], 1)}. Max keeps what is bright, "
            "be it ink or paper.",
            f"The mean keeps the average exactly, {percent(after['mean'], 1)}, and greys the strokes.",
        ],
        Shot(grey_picture(bright, 0, 1), "white ink", [f"{percent(share, 1)} ink"], 6),
        Shot(grey_picture(blocks(bright, 4).max(-1), 0, 1), "max", [f"{percent(after['white ink'], 1)} ink"], 6),
        Shot(grey_picture(blocks(bright, 4).mean(-1), 0, 1), "mean", [f"{percent(after['mean'], 1)} on average"], 6),
        Shot(grey_picture(dark, 0, 1), "black ink", [f"{percent(share, 1)} ink"], 6),
        Shot(grey_picture(blocks(dark, 4).max(-1), 0, 1), "max", [f"{percent(after['black ink'], 1)} ink"], 6),
        Shot(grey_picture(blocks(dark, 4).mean(-1), 0, 1), "mean", [f"{percent(1 - after['mean'], 1)} on average"], 6),
    )
    story.on_slide(16)


def _noise(story: Story, rng: np.random.Generator) -> None:
    noise = rng.normal(size=(600, 600))
    parts = blocks(noise)
    found = {
        name: {"mean": float(values.mean()), "sd": float(values.std())}
        for name, values in (("noise", noise), ("max", parts.max(-1)), ("mean", parts.mean(-1)))
    }
    count = parts.shape[0] * parts.shape[1]
    spread = 5 / count**0.5
    # The expected largest of four standard normal numbers, and its deviation (order statistics): 1.0294 and 0.7012.
    for name, mean, deviation in (("max", 1.0294, 0.7012), ("mean", 0.0, 0.5)):
        story.near(f"mean of 2 × 2 {name} of N(0,1)", found[name]["mean"], mean, spread)
        story.near(f"deviation of 2 × 2 {name} of N(0,1)", found[name]["sd"], deviation, spread)
    story.numbers["noise"] = {"pixels": noise.size, **found}
    edges = np.linspace(-4, 4, 65)
    middles = (edges[1:] + edges[:-1]) / 2

    def density(values: Array) -> Array:
        return np.asarray(np.histogram(values, edges, density=True)[0], np.float64)

    curves = {"noise": density(noise), "max": density(parts.max(-1)), "mean": density(parts.mean(-1))}
    story.numbers["densities"] = curves
    story.band(
        "Estimates",
        [
            f"Of noise around 0 with deviation 1 the mean of 2 × 2 has deviation {found['mean']['sd']:.2f}. The max "
            f"moves to {found['max']['mean']:.2f}, deviation {found['max']['sd']:.2f}: a bias, not a smaller shift."
        ],
        Plot(
            [
                Curve(middles, curves["noise"], "noise", CHANCE),
                Curve(middles, curves["mean"], "mean of 2 × 2", BLUE),
                Curve(middles, curves["max"], "max of 2 × 2", ORANGE),
            ],
            "Density",
            "value",
            across=2,
            height=150,
        ),
    )


def _dense(story: Story) -> None:
    with_pool, without = nn.Linear(16 * 14 * 14, 120), nn.Linear(16 * 28 * 28, 120)
    conv = nn.Conv2d(16, 32, 3)
    counts = {
        name: sum(each.numel() for each in layer.parameters())
        for name, layer in (
            ("dense behind pooling", with_pool),
            ("dense without", without),
            ("a convolution behind either", conv),
        )
    }
    story.near(
        "parameters a dense layer has without pooling, over with",
        counts["dense without"] / counts["dense behind pooling"],
        4.0,
        0.01,
    )
    same = F.max_pool2d(torch.zeros(1, 16, 28, 28), 2).shape[1]
    story.equal("channels behind a pool of 16", same, 16)
    story.numbers["later_layers"] = counts
    story.when_this_fails(
        [
            "“Cuts parameters”: only of dense layers behind it. A convolution behind it has as many as without.",
            "“Max keeps texture”: only texture brighter than its ground.",
        ],
        Bars(
            [
                Bar(name, count, f"{count:,}", (214, 150, 92) if "conv" in name else (122, 152, 186))
                for name, count in counts.items()
            ],
            "Parameters behind 16 maps of 28 × 28",
            across=1,
        ),
    )
