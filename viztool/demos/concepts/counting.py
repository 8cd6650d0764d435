"""Parameters and connections: what sharing weights saves."""

from __future__ import annotations

import torch
from torch import nn

from viztool.demos.photo import Photo
from viztool.demos.registry import demo
from viztool.demos.story import Story
from viztool.render.charts import Bar, Bars, Table
from viztool.render.grids import Grid
from viztool.render.numbers import number, percent
from viztool.render.panels import Shot


def as_matrix(layer: nn.Module, side: int) -> torch.Tensor:
    """(outputs, inputs): the matrix of a linear layer on one channel of side × side; its bias is left out."""
    eye = torch.eye(side * side).view(side * side, 1, side, side)
    with torch.no_grad():
        columns: torch.Tensor = layer(eye) - layer(torch.zeros(1, 1, side, side))
    return columns.flatten(1).T


@demo("counting", "How many parameters, how many connections?", claims=[14], sees=False)
def counting(photo: Photo, seed: int) -> Story:
    """LeNet-5's first layer, counted; and a small convolution as the matrix that it is."""
    story = Story()
    layer = nn.Conv2d(1, 6, 5)
    parameters = sum(each.numel() for each in layer.parameters())
    out = layer(torch.zeros(1, 1, 32, 32)).shape
    connections = out[1] * out[2] * out[3] * (5 * 5 + 1)
    dense = out[1] * out[2] * out[3] * (32 * 32 + 1)
    story.equal("parameters of 6 maps of 5 × 5", parameters, 156)
    story.equal("their connections on 32 × 32", connections, 122_304)
    story.equal("connections if it were fully connected", dense, 4_821_600)
    story.numbers |= {
        "output": list(out[1:]),
        "parameters": parameters,
        "connections": connections,
        "fully_connected": dense,
    }
    story.numbers["connections_per_parameter"] = connections / parameters
    story.band(
        "LeNet-5's first layer",
        [
            f"6 maps of 5 × 5 weights and a bias: {parameters} parameters. On 32 × 32 each is used at 28 × 28 places: "
            f"{connections:,} connections, {connections / parameters:.0f} for each parameter."
        ],
        Bars(
            [
                Bar("parameters, shared", parameters, f"{parameters:,}"),
                Bar("connections", connections, f"{connections:,}"),
                Bar("fully connected, each its own weight", dense, f"{dense:,}"),
            ],
            "5 × 5, 1 → 6 maps, on 32 × 32",
            across=1,
        ),
    )
    torch_state = torch.Generator().manual_seed(seed)
    conv = nn.Conv2d(1, 1, 3, bias=False)
    with torch.no_grad():
        conv.weight.copy_(torch.randn(1, 1, 3, 3, generator=torch_state))
    shared = as_matrix(conv, 6)
    distinct = int(shared[shared != 0].unique().numel())
    zero = float((shared == 0).float().mean())
    story.equal("different weights in the matrix of a 3 × 3", distinct, 9)
    x = torch.nn.functional.interpolate(torch.from_numpy(photo.unit)[None, None].float(), (6, 6), mode="area")
    worst = float((shared @ x.flatten() - conv(x).detach().flatten()).abs().max())
    story.below("difference of the matrix to the convolution", worst, 1e-5)
    story.numbers["matrix"] = {"rows": 16, "columns": 36, "weights": distinct, "zeros": zero, "difference": worst}
    story.band(
        "The same as a matrix",
        [
            f"A 3 × 3 on 6 × 6 pixels: 16 outputs by 36 inputs. {distinct} different numbers, the rest, "
            f"{percent(zero)}, zero. On the photo, made 6 × 6, it is the convolution within {number(worst, '.2g')}."
        ],
        Grid(shared.numpy(), "shared: a row is an output", form="", cell=13),
        Grid(
            torch.randn(16, 36, generator=torch_state).numpy(),
            "fully connected: every weight its own",
            form="",
            cell=13,
        ),
    )
    large = nn.Conv2d(256, 512, 3)
    few = sum(each.numel() for each in large.parameters())
    places = 512 * 5 * 5 * (256 * 9 + 1)
    locally = places  # without sharing every connection has a weight of its own
    story.numbers["late_layer"] = {"parameters": few, "connections": places, "per_parameter": places / few}
    story.when_this_fails(
        [
            f"Late layers have many channels on few places: 256 → 512 on 7 × 7 has {few:,} parameters, each used "
            f"{places / few:.0f} times. Sharing saves little there.",
        ],
        Table(
            [
                ["3 × 3, 256 → 512 on 7 × 7", "count"],
                ["parameters", f"{few:,}"],
                ["connections", f"{locally:,}"],
            ]
        ),
        Shot(photo.rgb, "the photo, any size", ["the parameters stay the same"], 6),
    )
    return story
