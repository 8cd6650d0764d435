"""Does batch norm let a deep stack of sigmoids learn?"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from viztool.demos.photo import Photo, reference_photo
from viztool.demos.registry import demo
from viztool.demos.story import Story
from viztool.demos.training import cut, fit, mean_and_spread, seeded
from viztool.render.charts import Table
from viztool.render.numbers import number
from viztool.render.plot import BLUE, CHANCE, GREEN, ORANGE, Curve, Plot

_SEEDS = 3
_STEPS = 150
_LAYERS = 10
_WAYS = {"sigmoid": ORANGE, "sigmoid + batch norm": GREEN, "ReLU": BLUE, "sigmoid, Adam": CHANCE}


def stack(way: str) -> nn.Sequential:
    """Ten layers of 64, from 8 × 8 pixels to two classes."""
    parts: list[nn.Module] = [nn.Flatten()]
    for _ in range(_LAYERS):
        linear = nn.Linear(64, 64)
        if way == "ReLU":
            nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        else:
            nn.init.xavier_uniform_(linear.weight)
        norm = [nn.BatchNorm1d(64)] if "norm" in way else []
        parts += [linear, *norm, nn.ReLU() if way == "ReLU" else nn.Sigmoid()]
    return nn.Sequential(*parts, nn.Linear(64, 2))


@demo("training-batchnorm", "Does batch norm let deep sigmoids learn?", claims=[], trains=True)
def training_batchnorm(photo: Photo, seed: int) -> Story:
    """Trains ten layers to tell the left half of a patch from the right, the brighter one."""
    story = Story(notes=["The bands are the deviation over the seeds."])
    source = photo if photo.unit.std() > 0.02 else reference_photo()
    x = cut(source, 8, 3000, torch.Generator().manual_seed(seed))
    gap = x[..., 4:].mean((1, 2, 3)) - x[..., :4].mean((1, 2, 3))
    x = x[gap.abs().argsort(descending=True)[:1500]]
    x = (x - x.mean((2, 3), keepdim=True)) / x.std((2, 3), keepdim=True).clamp_min(1e-3)
    labels = (x[..., 4:].mean((1, 2, 3)) > x[..., :4].mean((1, 2, 3))).long()
    courses: dict[str, list[list[float]]] = {way: [] for way in _WAYS}
    firsts: dict[str, list[float]] = {way: [] for way in _WAYS}
    for way in _WAYS:
        for run in range(_SEEDS):
            with seeded(seed + run):
                net = stack(way)
                course: list[float] = []

                def loss(net: nn.Module = net, course: list[float] = course) -> Tensor:
                    batch = torch.randint(len(x), (128,))
                    value = F.cross_entropy(net(x[batch]), labels[batch])
                    course.append(float(value.detach()))
                    return value

                def look(step: int, net: nn.Sequential = net, way: str = way) -> None:
                    if step == 1:
                        first = net[1].weight.grad
                        last = net[len(net) - 1].weight.grad
                        assert isinstance(first, Tensor)
                        assert isinstance(last, Tensor)
                        firsts[way].append(float(first.norm() / last.norm()))

                # Adam divides each gradient by its own size, and so does not care how small it is.
                sgd = torch.optim.SGD(net.parameters(), 0.02, momentum=0.9)
                fit(net, _STEPS, loss, look, None if "Adam" in way else sgd)
            courses[way].append(course)
    final = {way: float(np.mean([each[-20:] for each in courses[way]])) for way in _WAYS}
    ratio = {way: float(np.mean(values)) for way, values in firsts.items()}
    story.below("loss of ten ReLU layers, over chance", final["ReLU"] / float(np.log(2)), 0.8)
    story.above("loss of ten sigmoid layers after training", final["sigmoid"], 0.5)
    story.below("loss with batch norm, over without", final["sigmoid + batch norm"] / final["sigmoid"], 0.6)
    story.above("first gradient with batch norm, over without", ratio["sigmoid + batch norm"] / ratio["sigmoid"], 100)
    means = {way: mean_and_spread(courses[way]) for way in _WAYS}
    story.numbers |= {
        "final_loss": final,
        "first_over_last_gradient": ratio,
        "loss": {way: mean for way, (mean, _) in means.items()},
        "spread": {way: spread for way, (_, spread) in means.items()},
        "seeds": _SEEDS,
        "steps": _STEPS,
        "chance": float(np.log(2)),
    }
    steps = np.arange(1, _STEPS + 1, dtype=np.float64)
    story.band(
        "Ten layers learn, or not",
        [
            f"Which half of a patch of 8 × 8 pixels of the photo is brighter? {_STEPS} steps, {_SEEDS} seeds. At "
            f"chance the loss is {np.log(2):.3f}."
        ],
        Plot(
            [Curve(steps, means[way][0], way, color, means[way][1]) for way, color in _WAYS.items()],
            "Loss",
            "training step",
            across=2,
        ),
        Table(
            [
                ["", "loss at the end", "first / last gradient at the start"],
                *([way, f"{final[way]:.3f}", number(ratio[way], ".2g")] for way in _WAYS),
            ]
        ),
    )
    story.when_this_fails(
        [
            "It is not the only cure: ten ReLU layers, begun as He et al. 2015 do, learn without batch norm.",
            "And Adam, which divides each gradient by its own size, trains even the sigmoids: small is not lost.",
        ],
        Table(
            [
                ["without batch norm", "loss at the end"],
                *([way, f"{final[way]:.3f}"] for way in ("ReLU", "sigmoid, Adam")),
            ]
        ),
    )
    return story
