"""A picture made by a small network from the coordinates of each pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from viztool.kernels.parameterizations.base import Canvas, Parameterization, Shape, normal
from viztool.tensors.size import Size


@dataclass(frozen=True)
class CPPN(Parameterization):
    """A network from (x, y) to a colour, one for each picture: smooth at every size.

    layers, width: of the network. Stanley 2007; the activations are those of Mordvintsev et al. 2018,
    "Differentiable Image Parameterizations".
    """

    name = "cppn"
    rate: float = 0.005
    layers: int = 7
    width: int = 24

    def start(self, shape: Shape, generators: Sequence[torch.Generator]) -> Canvas:
        """A smooth pattern, near grey."""
        inputs, weights = 2, []
        for _ in range(self.layers):
            weights.append(normal((self.width, inputs + 1), generators, shape.device) / inputs**0.5)
            inputs = 2 * self.width
        weights.append(0.0 * normal((shape.channels, inputs + 1), generators, shape.device))
        return _CPPNCanvas(weights, shape.size)


class _CPPNCanvas(Canvas):
    """weights: (N, out, in + 1) of each layer, the bias last."""

    def __init__(self, weights: list[Tensor], size: Size) -> None:
        self.parameters = [weight.requires_grad_() for weight in weights]
        self._size = size
        h, w = size
        # In units of standard deviation, as for any other input of a network.
        rows, columns = (torch.linspace(-1, 1, side) * 3**0.5 for side in size)
        grid = torch.stack([rows[:, None].expand(h, w), columns[None].expand(h, w)])
        self._grid = grid.flatten(1).to(weights[0])

    def image(self) -> Tensor:
        *hidden, last = self.parameters
        x = self._grid.expand(len(last), -1, -1)
        for weight in hidden:
            x = _affine(weight, x)
            x = x - x.mean((1, 2), keepdim=True)
            x = x / (x.square().mean((1, 2), keepdim=True) + 1e-6).sqrt()
            angle = x.atan()
            # atan and its square, each brought to unit variance for a standard normal input
            x = torch.cat([angle / 0.67, angle.square() / 0.6], 1)
        colors: Tensor = _affine(last, x).sigmoid()
        return colors.view(*colors.shape[:2], *self._size)


def _affine(weight: Tensor, x: Tensor) -> Tensor:
    return torch.baddbmm(weight[..., -1:], weight[..., :-1], x)
