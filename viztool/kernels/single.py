"""One unit of an early layer: it sees a few pixels, and each of them can be drawn.

The spatial mean of such a layer is next to linear in the picture, so that it asks for a colour and a frame.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from viztool.errors import ModelError
from viztool.kernels.ascent import Window, generators
from viztool.kernels.network import Stopped
from viztool.kernels.presets import Preset, field_of
from viztool.kernels.redirect import Redirected
from viztool.kernels.transforms import Transforms
from viztool.models.model import Model
from viztool.tensors.size import Size

CANVAS: Size = (32, 32)
"""Of the picture around a unit's field: of a side that networks of 32 pixels a cell take, too."""

_SEES = 16
"""Pixels of a field at most."""

_PROBES = 8
_STREAM = 4
_LINEAR = 0.999
"""Cosine of a unit's gradients at different pictures, if it is one linear filter behind a function that only rises."""


def for_single_unit(model: Model, layer: str) -> Preset | None:
    """The preset for the middle unit of a layer whose units see little, on a canvas; None for another layer."""
    field = field_of(model, layer)
    if field is None or field.everything or field.global_context or len(field.size) != 2 or max(field.size) > _SEES:
        return None
    try:
        network = Stopped(model, [layer], CANVAS)
    except ModelError:
        return None
    window = _window(_gradients(network, layer, range(network.widths[layer])).abs().sum((0, 1, 2)))
    return None if window is None else Preset(Transforms(), 0.05, 1.0, 128, window)


def filters_of(network: Stopped, layer: str, units: Sequence[int], window: Window) -> Tensor | None:
    """The linear filters that units are, (n, C, h, w) in the colours of a picture; None if one of them is none.

    network: that stops at the layer. Where nothing but functions that rise come behind a filter it is what
    excites a unit most among pictures of its strength.
    """
    gradients = _gradients(network, layer, units)
    directions = torch.nn.functional.normalize(gradients.flatten(2), dim=2)  # (n, probes, C·h·w)
    means = torch.nn.functional.normalize(directions.mean(1, keepdim=True), dim=2)
    alike = (directions * means).sum(2)
    if bool(((alike < _LINEAR) & (directions.abs().amax(2) > 0)).any()):
        return None
    return means.view(len(units), *gradients.shape[2:])[..., window[0], window[1]]


def _gradients(network: Stopped, layer: str, units: Sequence[int]) -> Tensor:
    """Of each unit in the middle of the map, at random pictures on the canvas: (n, probes, C, h, w)."""
    drawn = [
        torch.rand(network.channels, *CANVAS, generator=each)
        for each in generators([(0, i) for i in range(_PROBES)], _STREAM)
    ]
    pictures = torch.stack(drawn).to(network.device).requires_grad_()
    found = []
    with torch.enable_grad(), Redirected():
        maps = network(pictures, below=True)[layer]
        middle = maps[:, :, maps.shape[2] // 2, maps.shape[3] // 2]
        for unit in units:
            # Gradients are redirected for a loss, which falls as the unit rises.
            (gradient,) = torch.autograd.grad(-middle[:, unit].sum(), pictures, retain_graph=True)
            found.append(-gradient)
    return torch.stack(found).float().cpu()


def _window(strength: Tensor) -> Window | None:
    """Where there is anything in (h, w); None if it reaches the edge, where padding may have a part in it."""
    rows, columns = strength.sum(1).nonzero()[:, 0], strength.sum(0).nonzero()[:, 0]
    if not len(rows):
        return None
    (top, bottom), (left, right) = ((int(found.min()), int(found.max()) + 1) for found in (rows, columns))
    if min(top, left) == 0 or bottom == CANVAS[0] or right == CANVAS[1]:
        return None
    return slice(top, bottom), slice(left, right)
