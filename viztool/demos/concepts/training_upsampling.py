"""Does training take the checkerboard away? A small super-resolution with each way to enlarge."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from viztool.demos.photo import Photo
from viztool.demos.registry import demo
from viztool.demos.signal import phases
from viztool.demos.story import Story
from viztool.demos.training import cut, fit, mean_and_spread, seeded
from viztool.render.charts import Table
from viztool.render.panels import BAD, GOOD, Panel, Shot, grey_picture
from viztool.render.plot import PALETTE, Curve, Plot
from viztool.render.text import Color

_SEEDS = 2
_STEPS = 400
_LOOKS = (0, 10, 25, 50, 100, 200, 300, 400)
_WAYS = ("transposed k3", "transposed k4", "pixel shuffle", "shuffle + ICNR", "nearest + conv")


class Enlarger(nn.Module):
    """Two convolutions, then twice as large."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 12, 3, padding=1), nn.ReLU()
        )
        self.up: nn.Module
        if way == "transposed k3":
            self.up = nn.ConvTranspose2d(12, 1, 3, 2, 1, 1)
        elif way == "transposed k4":
            self.up = nn.ConvTranspose2d(12, 1, 4, 2, 1)
        elif way == "nearest + conv":
            self.up = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(12, 1, 3, padding=1))
        else:
            conv = nn.Conv2d(12, 4, 3, padding=1)
            if "ICNR" in way and conv.bias is not None:
                with torch.no_grad():
                    conv.weight.copy_(conv.weight[:1].expand_as(conv.weight).clone())
                    conv.bias.copy_(conv.bias[:1].expand_as(conv.bias).clone())
            self.up = nn.Sequential(conv, nn.PixelShuffle(2))
        # PyTorch's own beginning makes kernels whose grid is small beside the photo; the usual one is He's.
        for each in self.modules():
            if isinstance(each, (nn.Conv2d, nn.ConvTranspose2d)) and "ICNR" not in way:
                nn.init.kaiming_normal_(each.weight)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.up(self.features(x))
        return out


def grid_of_a_constant(net: nn.Module) -> float:
    """Root mean square of the grid that a grey of one half becomes, in grey levels of 255."""
    with torch.no_grad():
        out = net(torch.full((1, 1, 16, 16), 0.5))[0, 0, 8:-8, 8:-8]
    return 255 * float(phases(out, 2).mean((-2, -1)).std(unbiased=False))


@demo("training-upsampling", "Does training take the checkerboard away?", claims=[], trains=True)
def training_upsampling(photo: Photo, seed: int) -> Story:
    """Trains twice as large on patches of the photo, and looks at the grid of a constant on the way."""
    story = Story(notes=["Grid: what a constant grey becomes, as the deviation of its four phases, in levels of 255."])
    grids: dict[str, list[list[float]]] = {way: [] for way in _WAYS}
    errors: dict[str, list[float]] = {way: [] for way in _WAYS}
    outputs: dict[str, Tensor] = {}
    generator = torch.Generator().manual_seed(seed)
    large = cut(photo, 32, 256, generator)
    small = F.avg_pool2d(large, 2)
    for way in _WAYS:
        for run in range(_SEEDS):
            with seeded(seed + run):
                net = Enlarger(way)
                course: list[float] = []

                def loss(net: nn.Module = net) -> Tensor:
                    batch = torch.randint(len(large), (8,))
                    return F.mse_loss(net(small[batch]), large[batch])

                def look(step: int, net: nn.Module = net, course: list[float] = course) -> None:
                    if step in _LOOKS:
                        course.append(grid_of_a_constant(net))

                fit(net, _STEPS, loss, look)
            grids[way].append(course)
            with torch.no_grad():
                out = net(small)
                errors[way].append(255 * float(F.mse_loss(out, large).sqrt()))
                outputs[way] = out
    numbers: dict[str, dict[str, Any]] = {}
    for way in _WAYS:
        mean, spread = mean_and_spread(grids[way])
        numbers[way] = {"steps": _LOOKS, "grid": mean, "spread": spread, "rms_error": sum(errors[way]) / _SEEDS}
    for way in ("transposed k3", "transposed k4", "pixel shuffle"):
        story.above(
            f"grid of {way} before training, over after",
            numbers[way]["grid"][0] / max(numbers[way]["grid"][-1], 1e-9),
            2,
        )
    story.below("grid of ICNR before training", numbers["shuffle + ICNR"]["grid"][0], 1e-3)
    story.below("largest grid of nearest + conv", float(max(numbers["nearest + conv"]["grid"])), 1e-3)
    story.numbers |= {"ways": numbers, "seeds": _SEEDS, "training_steps": _STEPS}
    best = int(large.var((1, 2, 3)).argmax())
    shots: list[Panel] = [
        Shot(grey_picture(small[best, 0].numpy(), 0, 1), "16 × 16", [], 7),
        Shot(grey_picture(large[best, 0].numpy(), 0, 1), "the photo", [], 7),
    ]
    shots += [
        Shot(
            grey_picture(outputs[way][best, 0].numpy(), 0, 1),
            way,
            [f"off by {numbers[way]['rms_error']:.1f} levels"],
            7,
        )
        for way in _WAYS
    ]
    story.band(
        "The task",
        [f"Patches of the photo, twice as large: {_STEPS} steps, {_SEEDS} seeds. After training, one patch."],
        *shots,
    )
    steps = torch.tensor(_LOOKS, dtype=torch.float64).numpy()
    at = [_LOOKS.index(step) for step in (0, 50, 400)]
    rows = [["grid of a constant, in levels", "before", "50 steps", "400 steps"]]
    colors: list[tuple[int, int, Color]] = []
    for way in _WAYS:
        rows.append([way, *(f"{numbers[way]['grid'][each]:.2f}" for each in at)])
        colors.append((len(rows) - 1, 3, BAD if numbers[way]["grid"][-1] > 0.5 else GOOD))
    story.band(
        "The grid while it trains",
        [
            "The loss takes most of it away, for the ways that begin with one; it is not gone. The band is the "
            "deviation over the seeds."
        ],
        Plot(
            [
                Curve(steps, numbers[way]["grid"], way, color, numbers[way]["spread"], dots=True)
                for way, color in zip(_WAYS, PALETTE, strict=False)
            ],
            "Grid of a constant, levels of 255",
            "training step",
            across=2,
        ),
        Table(rows, colors=tuple(colors)),
    )
    story.when_this_fails(
        ["“The network will learn it away”: nearly, on what it was trained for. Ways without a grid never had to."],
        Table([["", "error after training, levels"], *([way, f"{numbers[way]['rms_error']:.2f}"] for way in _WAYS)]),
    )
    return story
