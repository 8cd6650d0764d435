"""Receptive fields: stacks of small kernels against one large kernel."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from viztool.demos.concepts.dilation import paths
from viztool.demos.kernel import Array, correlate
from viztool.demos.photo import Photo
from viztool.demos.registry import demo
from viztool.demos.story import Story
from viztool.render.charts import Table
from viztool.render.grids import Equation, Grid
from viztool.render.numbers import number, percent
from viztool.render.panels import BAD, Panel, Shot, grey_picture
from viztool.render.plot import BLUE, Curve, Plot

_DRAWS = 40
_RESTARTS = 6


def best_pair(kernel: Array, rng: np.random.Generator) -> tuple[float, Array, Array]:
    """The pair of 3 × 3 whose full convolution is nearest to a 5 × 5: the share of its energy left, and the pair.

    Alternating least squares from several beginnings; a local minimum may be a little above the least.
    """
    best: tuple[float, Array, Array] | None = None
    for _ in range(_RESTARTS):
        first: Array = rng.normal(size=(3, 3))
        second: Array = first
        for _ in range(40):
            second = _solved(first, kernel)
            first = _solved(second, kernel)
        left = float(((_full(first, second) - kernel) ** 2).sum() / (kernel**2).sum())
        if best is None or left < best[0]:
            best = left, first, second
    assert best is not None
    return best


def _solved(factor: Array, kernel: Array) -> Array:
    """The other factor, by least squares."""
    return np.asarray(np.linalg.lstsq(_matrix(factor), kernel.ravel(), rcond=None)[0], np.float64).reshape(3, 3)


def _matrix(kernel: Array) -> Array:
    """(25, 9): the full convolution with this 3 × 3, as a matrix."""
    columns = []
    for at in range(9):
        unit = np.zeros((5, 5))
        unit[at // 3 : at // 3 + 3, at % 3 : at % 3 + 3] = kernel
        columns.append(unit.ravel())
    return np.stack(columns, 1)


def _full(first: Array, second: Array) -> Array:
    result: Array = (_matrix(first) @ second.ravel()).reshape(5, 5)
    return result


@demo("receptive-field", "Are two 3 × 3 one 5 × 5?", claims=[5], photo="cat")
def receptive_field(photo: Photo, seed: int) -> Story:
    """Fields, weights, and how much of a random 5 × 5 no pair of 3 × 3 can do."""
    story = Story()
    rng = np.random.default_rng(seed)
    panels: list[Panel] = []
    rows = [["", "field", "weights", "of the large kernel's"]]
    fields = {}
    for count, side in ((2, 5), (3, 7)):
        counts = paths((1,) * count)
        story.equal(f"side of the field of {count} 3 × 3", counts.shape[0], side)
        story.equal(f"pixels that {count} 3 × 3 miss in it", int((counts == 0).sum()), 0)
        share = 9 * count / side**2
        fields[str(count)] = {"side": side, "weights": 9 * count, "large": side**2, "share": share}
        panels.append(
            Grid(
                counts.numpy(),
                f"{count} times 3 × 3",
                ["paths from each pixel to the middle"],
                cell=34 if count == 2 else 28,
            )
        )
        rows.append([f"{count} × (3 × 3)", f"{side} × {side}", f"{9 * count} / {side**2}", percent(share)])
    story.numbers["fields"] = fields
    story.band(
        "The same field, fewer weights",
        ["All of the field is seen, the middle through more paths than the rim."],
        *panels,
        Table(rows),
    )
    _on_the_photo(story, photo, rng)
    _effective(story, seed)
    _fit(story, rng)
    return story


def _on_the_photo(story: Story, photo: Photo, rng: np.random.Generator) -> None:
    """A kernel that is a pair, done both ways."""
    smooth = np.outer([1, 2, 1], [1, 2, 1]) / 16
    wide = _full(smooth, smooth)
    once = correlate(photo.unit, wide)
    twice = correlate(correlate(photo.unit, smooth), smooth)
    inside = float(abs(once - twice)[4:-4, 4:-4].max())
    story.below("difference of two smoothings to their 5 × 5, inside", inside, 1e-12)
    story.numbers["pair"] = {"kernel": smooth, "wide": wide, "difference_inside": inside}
    story.band(
        "A kernel that is a pair",
        [f"Two binomial 3 × 3 are one binomial 5 × 5: on the photo they differ by {number(inside, '.1g')}."],
        Equation(
            [
                Grid(smooth * 16, "3 × 3, in 1/16", cell=32),
                "*",
                Grid(smooth * 16, "3 × 3, in 1/16", cell=32),
                "=",
                Grid(wide * 256, "5 × 5, in 1/256", cell=32),
            ]
        ),
        Shot(grey_picture(photo.unit, 0, 1), "the photo", [], 6),
        Shot(grey_picture(twice, 0, 1), "through both", [], 6),
    )


def _effective(story: Story, seed: int) -> None:
    """What a stack sees in fact: gradients fall off like a bell. Luo et al. 2016."""
    generator = torch.Generator().manual_seed(seed)
    layers, draws = 10, 96
    side = 2 * layers + 1
    x = torch.zeros(draws, 1, side, side, requires_grad=True)
    y: Tensor = x
    for _ in range(layers):
        weight = torch.randn(draws, 1, 3, 3, generator=generator) / 3
        y = F.conv2d(y.transpose(0, 1), weight, groups=draws).transpose(0, 1)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    energy = (gradient**2).mean((0, 1)).double()
    middle = energy[layers // 2 : -(layers // 2), layers // 2 : -(layers // 2)]
    share = float(middle.sum() / energy.sum())
    area = middle.numel() / energy.numel()
    story.above("share of the gradient's energy in the middle quarter of the field", share, 0.6)
    profile = (energy.sum(0) / energy.sum()).numpy()
    story.numbers["effective"] = {
        "layers": layers,
        "side": side,
        "share_of_energy": share,
        "share_of_area": area,
        "profile": profile,
    }
    story.band(
        "The field in fact",
        [
            f"Ten 3 × 3 with random weights have a field of {side} × {side}. {percent(share)} of the gradient's "
            f"energy is in its middle {percent(area)}."
        ],
        Shot(
            grey_picture(-energy.sqrt().numpy(), -float(energy.sqrt().max()), 0),
            "|gradient|, black is most",
            [f"{draws} draws"],
            4,
        ),
        Plot(
            [Curve(np.arange(side) - layers * 1.0, profile * 100, "share of a column in %", BLUE)],
            "Energy across the field",
            "pixels from the middle",
            across=2,
            height=150,
        ),
    )
    story.numbers["effective"]["draws"] = draws


def _fit(story: Story, rng: np.random.Generator) -> None:
    left = []
    for at in range(_DRAWS):
        kernel = rng.normal(size=(5, 5))
        share, first, second = best_pair(kernel, rng)
        left.append(share)
        if at == 0:
            shown = kernel, first, second
    low, middle, high = (float(np.quantile(left, share)) for share in (0.1, 0.5, 0.9))
    story.above("energy of a random 5 × 5 that a pair leaves, median", middle, 0.05)
    story.below("energy of a random 5 × 5 that a pair leaves, median", middle, 0.16)
    kernel, first, second = shown
    pair = _full(first, second)
    story.numbers["fit"] = {
        "draws": _DRAWS,
        "left": {"10%": low, "median": middle, "90%": high, "first": left[0]},
        "kernel": kernel,
        "pair": pair,
        "first": first,
        "second": second,
        "all": left,
    }
    story.when_this_fails(
        [
            f"A random 5 × 5 has 25 free weights, a pair 17. The nearest pair leaves {percent(middle, 1)} of its "
            f"energy (median of {_DRAWS}; {percent(low, 1)} to {percent(high, 1)} for four in five).",
            "With a ReLU between them they are no convolution at all.",
        ],
        Equation(
            [
                Grid(kernel, "a random 5 × 5", form=".1f", cell=32),
                "≈",
                Grid(first, "3 × 3", form=".1f", cell=32),
                "*",
                Grid(second, "3 × 3", form=".1f", cell=32),
                "=",
                Grid(pair, "the nearest pair", form=".1f", cell=32),
            ],
            "",
            [f"{percent(left[0], 1)} of the energy is left"],
        ),
        Table([["left of the energy", "share"], ["median", percent(middle, 1)]], colors=((1, 1, BAD),)),
    )
