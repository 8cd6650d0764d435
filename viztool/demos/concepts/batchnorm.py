"""Batch norm: what it does to a batch, and what undoes it."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from viztool.demos.photo import Photo
from viztool.demos.registry import demo
from viztool.demos.story import Story
from viztool.render.charts import Table
from viztool.render.numbers import number
from viztool.render.panels import Shot
from viztool.render.plot import BLUE, CHANCE, GREEN, ORANGE, Curve, Plot

_EPS = 1e-5


def sigmoid_depth(layers: int, *, norm: bool, seed: int) -> list[float]:
    """Gradient norms of the weights of a stack of sigmoid layers, first to last, at initialisation."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts: list[nn.Module] = []
        for _ in range(layers):
            parts += [nn.Linear(64, 64), *([nn.BatchNorm1d(64)] if norm else []), nn.Sigmoid()]
        net = nn.Sequential(*parts)
        for part in net:
            if isinstance(part, nn.Linear):
                nn.init.xavier_uniform_(part.weight)
        net(torch.randn(128, 64)).pow(2).mean().backward()
    grads = [part.weight.grad for part in net if isinstance(part, nn.Linear)]
    return [float(grad.norm()) for grad in grads if grad is not None]


@demo("batchnorm", "What does batch norm do?", claims=[23, 24], photo="coffee")
def batchnorm(photo: Photo, seed: int) -> Story:
    """Means and variances before and after, small variances, a useless bias, the inverse, and a deep stack."""
    story = Story()
    generator = torch.Generator().manual_seed(seed)
    patches = torch.from_numpy(photo.rgb.copy()).permute(2, 0, 1)[None].double() / 255
    before = patches.mean((0, 2, 3)), patches.var((0, 2, 3), unbiased=False)
    after = F.batch_norm(patches, None, None, training=True, eps=_EPS)
    mean, var = after.mean((0, 2, 3)), after.var((0, 2, 3), unbiased=False)
    expected = before[1] / (before[1] + _EPS)
    story.below("largest mean after batch norm", float(mean.abs().max()), 1e-9)
    story.below("difference of the variance to v/(v + ε)", float((var - expected).abs().max()), 1e-9)
    rows = [["channel", "mean", "variance", "mean after", "variance after"]]
    rows += [
        [
            name,
            f"{before[0][at]:.4f}",
            f"{before[1][at]:.4f}",
            number(round(float(mean[at]), 6), ".4f"),
            f"{var[at]:.5f}",
        ]
        for at, name in enumerate(("red", "green", "blue"))
    ]
    story.numbers["photo"] = {
        "mean": before[0].tolist(),
        "variance": before[1].tolist(),
        "mean_after": mean.tolist(),
        "variance_after": var.tolist(),
    }
    shown = ((after[0] + 2) / 4 * 255).clamp(0, 255).byte().permute(1, 2, 0).contiguous().numpy()
    story.band(
        "On the photo",
        [
            "The photo as a batch of one: each colour gets mean 0 and variance v/(v + ε). It is the batch that "
            "decides: another photo beside it would change it."
        ],
        Shot(photo.rgb, "before", [], 5),
        Shot(shown, "after", ["−2 to 2 as black to white"], 5),
        Table(rows),
    )
    v_target = 0.0094
    small = torch.randn(200_000, 1, generator=generator).double()
    small = (small - small.mean()) / small.std(unbiased=False) * v_target**0.5
    out = float(F.batch_norm(small, None, None, training=True, eps=_EPS).var(unbiased=False))
    story.near("variance after batch norm of v = .0094", out, v_target / (v_target + _EPS), 1e-9)
    story.near("the same, as the notes have it", out, 0.99894, 1e-5)
    vs = np.logspace(-7, 0, 60)
    x = torch.randn(256, 8, generator=generator).double()
    linear = torch.randn(8, 4, generator=generator).double()
    bias = 10 * torch.randn(4, generator=generator).double()
    no_bias = float(
        (
            F.batch_norm(x @ linear + bias, None, None, training=True)
            - F.batch_norm(x @ linear, None, None, training=True)
        )
        .abs()
        .max()
    )
    story.below("what a bias in front of batch norm changes", no_bias, 1e-9)
    x32 = torch.randn(64, 8, generator=generator) * 3 + 5
    mu, v = x32.mean(0), x32.var(0, unbiased=False)
    undone = F.batch_norm(x32, None, None, (v + _EPS).sqrt(), mu, training=True, eps=_EPS)
    undo = float((undone - x32).abs().max())
    story.below("what is left when γ and β undo batch norm, float32", undo, 5e-6)
    story.numbers |= {
        "eps": _EPS,
        "small_variance": {"v": v_target, "after": out},
        "bias_changes": no_bias,
        "undone_within": undo,
    }
    story.band(
        "Variance not quite 1",
        [
            f"With v = {number(v_target)} and ε = {number(_EPS)} the variance becomes {out:.5f}.",
            f"A bias in front of it changes {number(no_bias, '.1e')}: it does nothing.",
            f"γ = √(v + ε) and β = μ undo it: the input is back within {number(undo, '.1e')}.",
        ],
        Plot(
            [Curve(np.log10(vs), vs / (vs + _EPS), "v/(v + ε)", BLUE)],
            "Variance after",
            "log₁₀ v",
            across=2,
            height=150,
            y_range=(0, 1),
        ),
        Table(
            [
                ["", "largest difference"],
                ["a bias in front of it", number(no_bias, ".2g")],
                ["γ, β undo it", number(undo, ".2g")],
            ]
        ),
    )
    plain, normed = sigmoid_depth(12, norm=False, seed=seed), sigmoid_depth(12, norm=True, seed=seed)
    ratio = {"without": plain[0] / plain[-1], "with": normed[0] / normed[-1]}
    story.below("first over last gradient of 12 sigmoid layers without batch norm", ratio["without"], 1e-4)
    story.above("the same with batch norm, over without", ratio["with"] / ratio["without"], 100)
    unit = torch.randn(100_000, generator=generator).double().sigmoid()
    slope = float((unit * (1 - unit)).mean())
    story.below("mean slope of a sigmoid behind batch norm", slope, 0.25)
    story.numbers["gradients"] = {
        "without": plain,
        "with": normed,
        "first_over_last": ratio,
        "mean_slope": slope,
        "largest_slope": 0.25,
    }
    depth = np.arange(1, 13, dtype=np.float64)
    story.when_this_fails(
        [
            f"It keeps a sigmoid's inputs where it is steep: {slope:.3f} on average, .25 at most. That is still "
            f"less than 1, and 12 layers multiply it.",
            f"First over last gradient: {number(ratio['without'], '.2g')} without, {number(ratio['with'], '.2g')} "
            "with. Better, by the norm's own gain; no law.",
        ],
        Plot(
            [
                Curve(depth, np.array(plain), "without", ORANGE, dots=True),
                Curve(depth, np.array(normed), "with batch norm", GREEN, dots=True),
            ],
            "Gradient of each layer's weights",
            "layer",
            across=2,
            log=True,
        ),
        Plot(
            [Curve(depth, np.maximum(0.25**depth, 1e-300), ".25 to the power of the layers", CHANCE)],
            "The most that sigmoids let through",
            "layers",
            across=3,
            log=True,
        ),
    )
    return story
