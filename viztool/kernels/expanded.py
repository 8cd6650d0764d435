"""The kernel between two units, through whatever is linear between their layers: Voss et al. 2021.

"Visualizing Weights", Distill: of two layers next to each other it is the kernel as it is; of a separable block the
product of its linear parts. Activation functions count as the identity, a max pool as a mean pool, gates as constants:
what the nonlinear parts do is left out. That all else is linear is checked by numbers, not taken from a list.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from viztool.errors import LayerError, UnrelatedError, ViztoolError
from viztool.hooks.frozen import frozen
from viztool.hooks.naming import unwrap
from viztool.inspect.nearest import nearest
from viztool.inspect.one_forward import untouched
from viztool.inspect.survey import Site, survey_of
from viztool.kernels.passage import Passage
from viztool.models.model import Model
from viztool.results import Part
from viztool.tensors.compare import alike

Array = npt.NDArray[np.float32]

_NOISE = (1.0, 10.0, 100.0)
"""In standard deviations of what the earlier layer puts out: some functions are linear near 0, and bend further out."""
_TOLERANCE = 1e-4
"""Of the largest weight: by how much the kernels may differ from input to input and still be those of a linear map."""


class LinearParts(NamedTuple):
    """values: (n, C, kh, kw), the kernels. left_out: the functions on the way that are not linear, by name."""

    values: Array
    left_out: tuple[str, ...]


def expanded_weights(net: nn.Module, x: Tensor, source: Site, target: Site, channels: Sequence[int]) -> Array:
    """The kernels from all channels of one layer to some of a later one: (n, C, kh, kw), of the unit in the middle.

    x: (1, C, H, W), an input to run on. Zeros around all of them are cut off; of a convolution that is all of its
    kernel where the map has room for it. Raises UnrelatedError if no linear way leads from one to the other, and
    LayerError if what leads there is not linear.
    """
    return linear_parts(net, x, source, target, channels).values


def linear_parts(net: nn.Module, x: Tensor, source: Site, target: Site, channels: Sequence[int]) -> LinearParts:
    """As `expanded_weights`, and what these kernels leave out.

    They are the derivative at one input, and kernels only if it is the same at every other: at three random ones, of
    random pictures with up to 100 standard deviations of noise on what the earlier layer puts out, it is compared.
    """
    with untouched(net, x) as own, frozen(net), torch.enable_grad():
        passage = Passage(net, source, target)
        leaf, middle = passage.run(own)
        crops = _Crops()
        for channel in channels:
            gradient = _derivative(middle[channel], leaf)
            if gradient is None:
                raise UnrelatedError(f"nothing leads from layer {source.name!r} to {target.name!r}")
            crops.add(np.asarray(source.maps(gradient)[0].float().cpu().numpy(), np.float32))
        random = torch.Generator().manual_seed(0)
        mixed = torch.randn(len(channels), generator=random).to(middle)
        first = _derivative(middle[list(channels)] @ mixed, leaf)
        del leaf, middle
        for noise in _NOISE:
            leaf, middle = passage.run(torch.randn(x.shape, generator=random).to(x), noise, random)
            if not _same(first, _derivative(middle[list(channels)] @ mixed, leaf)):
                raise _not_linear(source, target, passage)
    return LinearParts(crops.together(), tuple(passage.left_out))


def _derivative(value: Tensor, leaf: Tensor) -> Tensor | None:
    if not value.requires_grad:
        return None
    return torch.autograd.grad(value, leaf, retain_graph=True, allow_unused=True)[0]


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    return alike(torch.nan_to_num(one), torch.nan_to_num(other), _TOLERANCE)  # of weights that are NaN both are


def _not_linear(source: Site, target: Site, passage: Passage) -> LayerError:
    named = f" ({', '.join(passage.others)})" if passage.others else ""
    return LayerError(
        f"between layers {source.name!r} and {target.name!r} more is not linear than activations that can be left "
        f"out{named}: weights alone give no kernels; measure with photos"
    )


@dataclass(frozen=True, eq=False, repr=False)
class Expanded(Part):
    """The kernels to one unit from the layer that its own begins with. values: (C, kh, kw), of all its channels."""

    source: str
    values: Array

    def strongest(self, count: int) -> list[int]:
        """The input channels with the longest kernels, longest first; none whose kernel is 0 beside others."""
        lengths = np.square(self.values, dtype=np.float64).sum((1, 2))
        order = [int(channel) for channel in np.argsort(-lengths, kind="stable")[:count]]
        return [channel for channel in order if lengths[channel] > 0] or order[:1]


def expanded_of(model: Model, layer: str, channels: Sequence[int]) -> list[Expanded] | None:
    """Of some channels of a layer; None where no linear way leads there from the nearest one before it."""
    try:
        known, x = survey_of(model)
        net, target = unwrap(model.net), known.site(layer)
        source = nearest(net, x, known, layer)
        kernels = expanded_weights(net, x, source, target, channels)
    except ViztoolError:
        return None
    return [Expanded(source.name, own) for own in kernels]


class _Crops:
    """Kernels without the zeros around all of them: whole, those of a layer may not go into the memory."""

    def __init__(self) -> None:
        self._kept: list[tuple[Array, int, int]] = []

    def add(self, kernel: Array) -> None:
        """(C, h, w), of one unit; all are as large."""
        used = np.abs(kernel).max(0) > 0
        rows, columns = np.flatnonzero(used.any(1)), np.flatnonzero(used.any(0))
        if not len(rows):  # it keeps a place, in no way of the others
            self._kept.append((kernel[:, :0, :0], -1, -1))
            return
        cut = kernel[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        self._kept.append((np.ascontiguousarray(cut), int(rows[0]), int(columns[0])))

    def together(self) -> Array:
        """(n, C, kh, kw): 1 × 1 where all are 0."""
        there = [one for one in self._kept if one[0].size]
        top, left = (min((one[axis] for one in there), default=0) for axis in (1, 2))
        h, w = (max((one[axis] + one[0].shape[axis] for one in there), default=1) for axis in (1, 2))
        found = np.zeros((len(self._kept), len(self._kept[0][0]), h - top, w - left), np.float32)
        for at, (kernel, row, column) in enumerate(self._kept):
            if kernel.size:
                y, x = row - top, column - left
                found[at, :, y : y + kernel.shape[1], x : x + kernel.shape[2]] = kernel
        return found
