"""Does dropout help against overfitting? And does pooling, against a stride?"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from viztool.demos.concepts.noise import patches_of
from viztool.demos.photo import Photo, reference_photo
from viztool.demos.registry import demo
from viztool.demos.story import Story
from viztool.demos.training import fit, mean_and_spread, seeded
from viztool.render.charts import Table
from viztool.render.numbers import percent, points
from viztool.render.plot import BLUE, GREEN, ORANGE, PALETTE, VIOLET, Curve, Plot

_SEEDS = 3
_STEPS = 200
_FEW = 400
_WRONG = 0.3  # of the labels: what there is to learn by heart, and no use elsewhere
_LOOKS = tuple(range(0, _STEPS + 1, 20))


def dense(way: str) -> nn.Module:
    """A network with far more weights than it has patches."""
    rate = 0.5 if way == "dropout ½" else 0.0
    return nn.Sequential(nn.Flatten(), nn.Linear(144, 256), nn.ReLU(), nn.Dropout(rate), nn.Linear(256, 4))


def convolutional(way: str) -> nn.Module:
    """Two convolutions; between them the plane is halved in this way."""
    half: nn.Module = {
        "max pool": nn.MaxPool2d(2),
        "mean pool": nn.AvgPool2d(2),
        "stride 2": nn.Conv2d(12, 12, 2, stride=2),
    }[way]
    return nn.Sequential(
        nn.Conv2d(1, 12, 3), nn.ReLU(), half, nn.Conv2d(12, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 4)
    )


Data = tuple[Tensor, Tensor, Tensor, Tensor]


def _data(photo: Photo, seed: int, count: int) -> Data:
    source = photo if photo.unit.std() > 0.02 else reference_photo()
    generator = torch.Generator().manual_seed(seed)
    return (*patches_of(source, count, generator), *patches_of(source, 600, generator))


def _right(net: nn.Module, x: Tensor, labels: Tensor) -> float:
    net.eval()
    with torch.no_grad():
        share = float((net(x).argmax(1) == labels).float().mean())
    net.train()
    return share


def _courses(net: nn.Module, data: Data) -> tuple[list[float], list[float]]:
    """The share of right answers on the training patches and on others, while it trains."""
    x, labels, test_x, test_labels = data
    seen: list[float] = []
    other: list[float] = []

    def loss() -> Tensor:
        batch = torch.randint(len(x), (64,))
        return F.cross_entropy(net(x[batch]), labels[batch])

    def look(step: int) -> None:
        if step in _LOOKS:
            seen.append(_right(net, x, labels))
            other.append(_right(net, test_x, test_labels))

    fit(net, _STEPS, loss, look)
    return seen, other


@demo("training-dropout", "Does dropout help against overfitting?", claims=[], trains=True)
def training_dropout(photo: Photo, seed: int) -> Story:
    """Trains a large network on few patches, with and without dropout."""
    story = Story(notes=["The bands are the deviation over the seeds."])
    x, labels, test_x, test_labels = _data(photo, seed, _FEW)
    generator = torch.Generator().manual_seed(seed)
    wrong = torch.rand(len(labels), generator=generator) < _WRONG
    data = x, torch.where(wrong, torch.randint(4, labels.shape, generator=generator), labels), test_x, test_labels
    curves = []
    steps = np.array(_LOOKS, np.float64)
    gaps, others = {}, {}
    runs: dict[str, list[tuple[list[float], list[float]]]] = {}
    for way, (light, dark) in {"no dropout": (ORANGE, PALETTE[4]), "dropout ½": (BLUE, VIOLET)}.items():
        runs[way] = []
        for run in range(_SEEDS):
            with seeded(seed + run):
                runs[way].append(_courses(dense(way), data))
        seen, seen_spread = mean_and_spread([each[0] for each in runs[way]])
        other, other_spread = mean_and_spread([each[1] for each in runs[way]])
        gaps[way], others[way] = float(seen[-1] - other[-1]), float(other[-1])
        curves += [
            Curve(steps, 100 * seen, f"{way}: trained on", light, 100 * seen_spread),
            Curve(steps, 100 * other, f"{way}: others", dark, 100 * other_spread, dots=True),
        ]
    each_gap = {way: [seen[-1] - other[-1] for seen, other in values] for way, values in runs.items()}
    story.above("overfitting without dropout: right on trained patches, less on others", gaps["no dropout"], 0.05)
    if photo.is_reference:
        least, most = min(each_gap["no dropout"]), max(each_gap["dropout ½"])
        story.above("the least gap without dropout, less the largest with", least - most, 0.0)
    story.numbers |= {
        "gap": gaps,
        "others": others,
        "runs": runs,
        "patches": _FEW,
        "wrong_labels": _WRONG,
        "steps": _STEPS,
        "seeds": _SEEDS,
    }
    story.numbers["weights"] = sum(each.numel() for each in dense("no dropout").parameters())
    story.band(
        "Few patches, many weights",
        [
            f"{story.numbers['weights']:,} weights learn the direction of the edges in {_FEW} patches of the photo: "
            f"{_SEEDS} seeds. {percent(_WRONG)} of the labels are random: who knows those by heart has overfitted.",
            f"Right on those patches, less right on others: {points(gaps['no dropout'], 1)} without, "
            f"{points(gaps['dropout ½'], 1)} with.",
        ],
        Plot(curves, "Right answers in %: higher is better", "training step", across=2, height=220, y_range=(0, 100)),
        Table(
            [
                ["", "on others", "gap to trained on"],
                *([way, percent(others[way], 1), points(gaps[way], 1)] for way in others),
            ]
        ),
    )
    story.when_this_fails(
        [
            "It narrows the gap where there is something to learn by heart. On other patches it is "
            f"{percent(others['dropout ½'], 1)} against {percent(others['no dropout'], 1)}."
        ],
        Table([["right on other patches", "share"], *([way, percent(others[way], 1)] for way in others)]),
    )
    return story


@demo("training-stride", "Does a stride learn what pooling gives?", claims=[], trains=True)
def training_stride(photo: Photo, seed: int) -> Story:
    """Trains the same network with max pooling, mean pooling, and a convolution with stride 2."""
    story = Story(notes=["The bands are the deviation over the seeds."])
    data = _data(photo, seed, 1200)
    steps = np.array(_LOOKS, np.float64)
    curves = []
    final: dict[str, list[float]] = {}
    weights = {}
    for way, color in {"max pool": ORANGE, "mean pool": BLUE, "stride 2": GREEN}.items():
        runs = []
        for run in range(_SEEDS):
            with seeded(seed + run):
                net = convolutional(way)
                runs.append(_courses(net, data)[1])
        weights[way] = sum(each.numel() for each in net.parameters())
        mean, spread = mean_and_spread(runs)
        final[way] = [each[-1] for each in runs]
        curves.append(Curve(steps, 100 * mean, way, color, 100 * spread))
    means = {way: float(np.mean(values)) for way, values in final.items()}
    spreads = {way: float(np.std(values)) for way, values in final.items()}
    story.equal("weights that the stride adds", weights["stride 2"] - weights["max pool"], 12 * 12 * 4 + 12)
    # Chance is a quarter; all three learn the task.
    story.above("least share of right answers", min(means.values()), 0.4)
    widest = max(means.values()) - min(means.values())
    story.numbers |= {"right": final, "mean": means, "spread": spreads, "weights": weights, "widest_gap": widest}
    story.numbers |= {"steps": _STEPS, "seeds": _SEEDS}
    story.band(
        "The same task",
        [
            f"The direction of the edges in patches of the photo, {_STEPS} steps, {_SEEDS} seeds. Right answers on "
            f"other patches."
        ],
        Plot(curves, "Right answers in %: higher is better", "training step", across=2, height=220, y_range=(0, 100)),
        Table(
            [
                ["", "right", "± over seeds", "weights"],
                *([way, percent(means[way], 1), points(spreads[way], 1), f"{weights[way]:,}"] for way in means),
            ]
        ),
    )
    story.when_this_fails(
        [
            f"The widest gap between them is {points(widest, 1)} here. The stride pays for what it learns with "
            "weights: pooling has none.",
        ],
        Table([["", "weights"], *([way, f"{count:,}"] for way, count in weights.items())]),
    )
    return story
