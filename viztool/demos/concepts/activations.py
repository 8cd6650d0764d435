"""Activations: which saturate, which die, and what becomes of a gradient through twenty layers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from viztool.demos.photo import Photo
from viztool.demos.registry import demo
from viztool.demos.story import Story
from viztool.render.charts import Bar, Bars, Table
from viztool.render.numbers import number, percent
from viztool.render.panels import Shot, grey_picture
from viztool.render.plot import BLUE, GREEN, ORANGE, Curve, Plot

_LAYERS = 20
_WIDTH = 256


def flow(activation: Callable[[Tensor], Tensor], gain: float, seed: int) -> list[float]:
    """Gradient norms of the weights of 20 layers, first to last, at Xavier's initialisation times this gain."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(128, _WIDTH, generator=generator)
    weights = []
    for _ in range(_LAYERS):
        weight = (torch.randn(_WIDTH, _WIDTH, generator=generator) * gain / _WIDTH**0.5).requires_grad_()
        weights.append(weight)
        x = activation(x @ weight)
    gradients = torch.autograd.grad((x * torch.randn(x.shape, generator=generator)).sum(), weights)
    return [float(each.norm()) for each in gradients]


@demo("activations", "Which activations saturate?", claims=[25], photo="astronaut")
def activations(photo: Photo, seed: int) -> Story:
    """The curves and their slopes, a stack of twenty layers, and units that died."""
    story = Story()
    x = torch.linspace(-8, 8, 161, dtype=torch.float64)
    unit = torch.from_numpy(photo.unit)
    centred = (unit - unit.mean()) / unit.std().clamp_min(1e-6) * 2
    story.band(
        "On the photo",
        ["The photo, standardised and doubled, through each. Black is the least, white the most of each range."],
        Shot(grey_picture(centred.numpy(), -4, 4), "input", ["−4 to 4"], 4),
        Shot(grey_picture(centred.sigmoid().numpy(), 0, 1), "sigmoid", ["0 to 1"], 4),
        Shot(grey_picture(centred.tanh().numpy(), -1, 1), "tanh", ["−1 to 1"], 4),
        Shot(grey_picture(centred.relu().numpy(), 0, 4), "ReLU", ["0 to 4"], 4),
    )
    at_ten = float(torch.sigmoid(torch.tensor(10.0, dtype=torch.float64)))
    slope = at_ten * (1 - at_ten)
    scaled = float((torch.tanh(x) - (2 * torch.sigmoid(2 * x) - 1)).abs().max())
    power = 0.25**20
    story.near("σ′(10)", slope, 4.54e-5, 5e-8)
    story.below("difference of tanh x to 2σ(2x) − 1", scaled, 1e-12)
    story.near(".25 to the power of 20", power, 9.1e-13, 1e-14)
    leaf = torch.tensor([-5.0, 5.0, 5000.0], requires_grad=True)
    leaf.relu().sum().backward()
    assert leaf.grad is not None
    story.equal("slope of ReLU at −5, 5, 5000", leaf.grad.tolist(), [0, 1, 1])
    s = torch.sigmoid(x)
    story.numbers |= {
        "slope_of_sigmoid_at_10": slope,
        "tanh_is_scaled_sigmoid_within": scaled,
        "quarter_to_the_20": power,
    }
    story.band(
        "Curves and slopes",
        [
            f"σ′ is .25 at most, and {number(slope, '.3g')} at 10. tanh x = 2σ(2x) − 1. ReLU's slope is 1 however far "
            "to the right, and 0 to the left."
        ],
        Plot(
            [
                Curve(x.numpy(), s.numpy(), "sigmoid", BLUE),
                Curve(x.numpy(), x.tanh().numpy(), "tanh", ORANGE),
                Curve(x.numpy(), (x.relu() / 4).numpy(), "ReLU / 4", GREEN),
            ],
            "Value",
            "x",
            across=2,
            height=150,
        ),
        Plot(
            [
                Curve(x.numpy(), (s * (1 - s)).numpy(), "sigmoid", BLUE),
                Curve(x.numpy(), (1 - x.tanh() ** 2).numpy(), "tanh", ORANGE),
                Curve(x.numpy(), (x > 0).double().numpy(), "ReLU", GREEN, steps=True),
            ],
            "Slope",
            "x",
            across=2,
            height=150,
        ),
    )
    stacks = {
        "sigmoid": flow(torch.sigmoid, 1.0, seed),
        "tanh": flow(torch.tanh, 5 / 3, seed),
        "ReLU": flow(torch.relu, 2**0.5, seed),
    }
    ratios = {name: values[0] / values[-1] for name, values in stacks.items()}
    story.below("first over last gradient of 20 sigmoid layers", ratios["sigmoid"], 1e-10)
    for name in ("tanh", "ReLU"):
        story.above(f"first over last gradient of 20 {name} layers", ratios[name], 0.1)
        story.below(f"first over last gradient of 20 {name} layers", ratios[name], 10)
    story.numbers["gradients"] = {"layers": stacks, "first_over_last": ratios}
    depth = np.arange(1, _LAYERS + 1, dtype=np.float64)
    colors = {"sigmoid": BLUE, "tanh": ORANGE, "ReLU": GREEN}
    story.band(
        "Twenty layers",
        [
            f"The slopes multiply: .25 to the 20th is {number(power, '.2g')}. First over last gradient, at the usual "
            f"initialisation of each: "
            + ", ".join(f"{name} {number(value, '.2g')}" for name, value in ratios.items())
            + "."
        ],
        Plot(
            [Curve(depth, np.array(values), name, colors[name], dots=True) for name, values in stacks.items()],
            "Gradient of each layer's weights",
            "layer",
            across=2,
            log=True,
        ),
        Table([["", "first / last gradient"], *([name, number(value, ".2g")] for name, value in ratios.items())]),
    )
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.rand(2000, 64, generator=generator)
    dead = {}
    for shift in (0.0, -1.0, -3.0):
        layer = nn.Linear(64, 500)
        with torch.no_grad():
            layer.weight.copy_(torch.randn(500, 64, generator=generator) / 8)
            layer.bias.fill_(shift)
            dead[f"{shift:g}"] = float((layer(inputs).relu() == 0).all(0).float().mean())
    story.above("share of dead units with a bias of −3", dead["-3"], dead["0"])
    story.numbers["dead"] = dead
    story.when_this_fails(
        [
            "ReLU does not saturate to the right, but a unit whose input is below 0 for every image gets no "
            "gradient again: it is dead. Look for them in your network with -m.",
            "tanh is a scaled sigmoid, and saturates as it does.",
        ],
        Bars(
            [Bar(f"bias {shift}".replace("-", "−"), share, percent(share, 1)) for shift, share in dead.items()],
            "Units that are 0 on all of 2,000 inputs",
            top=1.0,
        ),
    )
    story.numbers["inputs"] = 2000
    return story
