"""Noise in training: what it does to a network that meets noise."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from viztool.demos.concepts.sobel import sobel_kernel
from viztool.demos.photo import Photo, reference_photo
from viztool.demos.registry import demo
from viztool.demos.story import Story
from viztool.render.charts import Table
from viztool.render.numbers import number, percent, points
from viztool.render.panels import Shot, grey_picture
from viztool.render.plot import BLUE, ORANGE, Curve, Plot

_SEEDS = 3
_STEPS = 150
_SIDE = 12
_LEVELS = (0.0, 0.1, 0.2, 0.3, 0.4)
_TRAINED_WITH = 0.3


def patches_of(photo: Photo, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Standardised patches (N, 1, 12, 12), and which of four directions most of the gradient's energy has (N,)."""
    image = torch.from_numpy(photo.unit).float()
    height, width = image.shape
    tops = torch.randint(height - _SIDE + 1, (4 * count,), generator=generator)
    lefts = torch.randint(width - _SIDE + 1, (4 * count,), generator=generator)
    offsets = torch.arange(_SIDE)
    patches = image[tops[:, None, None] + offsets[:, None], lefts[:, None, None] + offsets][:, None]
    across = torch.from_numpy(sobel_kernel(3)).float()[None, None]
    gx, gy = F.conv2d(patches, across), F.conv2d(patches, across.transpose(2, 3))
    # Of the structure tensor: twice the angle, so that a gradient and its opposite are one direction.
    angle = torch.atan2((2 * gx * gy).sum((1, 2, 3)), (gx**2 - gy**2).sum((1, 2, 3)))
    labels = ((angle / (torch.pi / 2)).round().long()) % 4
    energy = (gx**2 + gy**2).sum((1, 2, 3))
    best = energy.argsort(descending=True)[:count]
    best = best[torch.randperm(count, generator=generator)]
    chosen = patches[best]
    chosen = (chosen - chosen.mean((2, 3), keepdim=True)) / chosen.std((2, 3), keepdim=True).clamp_min(1e-3)
    return chosen, labels[best]


def train(x: Tensor, labels: Tensor, noise: float, seed: int) -> nn.Module:
    """A small network that tells the direction, trained with this much Gaussian noise on its input."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(
            nn.Conv2d(1, 12, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(12, 16, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64, 4),
        )
        optimizer = torch.optim.Adam(net.parameters(), 3e-3)
        for _ in range(_STEPS):
            batch = torch.randint(len(x), (128,))
            noisy = x[batch] + noise * torch.randn(128, 1, _SIDE, _SIDE)
            loss = F.cross_entropy(net(noisy), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return net.eval()


@demo("noise", "Does noise in training make a network more sensitive?", claims=[32], trains=True)
def noise(photo: Photo, seed: int) -> Story:
    """Trains a small network with and without noise, three seeds each, and tests both on noisy patches."""
    story = Story()
    generator = torch.Generator().manual_seed(seed)
    # A photo in which nothing is has no directions to learn.
    source = photo if photo.unit.std() > 0.02 else reference_photo()
    x, labels = patches_of(source, 1500, generator)
    test_x, test_labels = patches_of(source, 500, generator)
    # Noise in units of a standardised patch, up to more than its own deviation.
    levels = np.array(_LEVELS) * 4
    accuracy = {name: np.zeros((_SEEDS, len(levels))) for name in ("without noise", "with noise")}
    for at in range(_SEEDS):
        for name, amount in (("without noise", 0.0), ("with noise", 4 * _TRAINED_WITH)):
            net = train(x, labels, amount, seed + at)
            with torch.no_grad():
                for column, level in enumerate(levels):
                    noisy = test_x + float(level) * torch.randn(test_x.shape, generator=generator)
                    accuracy[name][at, column] = float((net(noisy).argmax(1) == test_labels).float().mean())
    lost = {name: float((values[:, 0] - values[:, -1]).mean()) for name, values in accuracy.items()}
    at_most = {name: [float(value) for value in values[:, -1]] for name, values in accuracy.items()}
    story.below(
        "accuracy that is lost to noise, trained with noise, over without", lost["with noise"], lost["without noise"]
    )
    if photo.is_reference:
        story.above(
            "least accuracy under noise with noise in training, over the largest without",
            min(at_most["with noise"]),
            max(at_most["without noise"]),
        )
    story.numbers |= {
        "levels": levels,
        "accuracy": accuracy,
        "lost": lost,
        "seeds": _SEEDS,
        "steps": _STEPS,
        "trained_with": 4 * _TRAINED_WITH,
    }
    shown = [
        Shot(
            grey_picture((test_x[0, 0] + float(level) * torch.randn(_SIDE, _SIDE, generator=generator)).numpy(), -3, 3),
            f"noise {number(level)}",
            [],
            7,
        )
        for level in levels
    ]
    story.band(
        "The task",
        [
            f"Which of four directions do the edges in a patch of {_SIDE} × {_SIDE} pixels have? A network of two "
            f"convolutions, {_STEPS} steps. Noise in units of the patch's deviation."
        ],
        *shown,
    )
    means = {name: values.mean(0) for name, values in accuracy.items()}
    spreads = {name: values.std(0) for name, values in accuracy.items()}
    story.numbers["mean_accuracy"] = means
    story.numbers["spread"] = spreads
    story.band(
        "Tested with noise",
        [
            f"From no noise to {number(levels[-1])} the one trained without loses {points(lost['without noise'])}, "
            f"the one trained with noise {points(lost['with noise'])}. Mean of {_SEEDS} seeds; the bands are their "
            "deviation."
        ],
        Plot(
            [
                Curve(levels, 100 * means[name], f"trained {name}", color, 100 * spreads[name], dots=True)
                for name, color in (("without noise", ORANGE), ("with noise", BLUE))
            ],
            "Right answers in %: higher is better",
            "noise in the test",
            across=2,
            y_range=(0, 100),
        ),
        Table(
            [
                ["noise", "trained without", "trained with"],
                *(
                    [
                        number(level),
                        percent(means["without noise"][at], 1),
                        percent(means["with noise"][at], 1),
                    ]
                    for at, level in enumerate(levels)
                ),
            ]
        ),
    )
    clean = {name: float(values[0]) for name, values in means.items()}
    story.numbers["clean"] = clean
    story.when_this_fails(
        [
            f"It has a price where there is no noise: {percent(clean['without noise'], 1)} right without, "
            f"{percent(clean['with noise'], 1)} with noise in training.",
            "And it helps against the noise that was trained with; other noise may still do harm.",
        ],
        Table(
            [
                ["on clean patches", "right"],
                *([f"trained {name}", percent(value, 1)] for name, value in clean.items()),
            ]
        ),
    )
    return story
