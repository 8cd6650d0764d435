"""The raw weights behind a channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from viztool.hooks.evaluating import evaluating
from viztool.hooks.naming import named_layers, unwrap
from viztool.results import Part

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False, repr=False)
class KernelWeights(Part):
    """The kernel that makes one channel. values: (in, kh, kw), of the layer called `layer`.

    sees_colors: it is the network's first, and its three slices are red, green and blue. usual: the median length
    of the layer's kernels.
    """

    layer: str
    values: Array
    sees_colors: bool
    usual: float = 0.0

    @property
    def vanishes(self) -> bool:
        """Whether it is next to nothing beside the layer's others: drawn on a scale of its own it would be noise."""
        return self.norm <= 1e-4 * self.usual

    @property
    def norms(self) -> Array:
        """The length of each slice: (in,)."""
        return np.asarray(np.sqrt(np.square(self.values, dtype=np.float64).sum((1, 2))), np.float32)

    @property
    def norm(self) -> float:
        """The length of the whole kernel."""
        return float(np.sqrt(np.square(self.values, dtype=np.float64).sum()))

    def strongest(self, count: int) -> npt.NDArray[np.int64]:
        """The input channels with the longest slices, longest first."""
        return np.argsort(-self.norms, kind="stable")[:count]

    def patterns(self, rank: int) -> tuple[Array, Array]:
        """The first spatial patterns of the singular value decomposition: (rank, kh, kw), and their shares of energy.

        Each is scaled by its singular value, and its largest entry is positive.
        """
        _, singular, patterns = np.linalg.svd(
            self.values.reshape(len(self.values), -1).astype(np.float64), full_matrices=False
        )
        energy = max(float(np.square(singular).sum()), 1e-30)
        kept = singular[:rank, None] * patterns[:rank]
        signs = np.sign(kept[np.arange(len(kept)), np.abs(kept).argmax(1)])
        shaped = (kept * np.where(signs == 0, 1, signs)[:, None]).reshape(-1, *self.values.shape[1:])
        return shaped.astype(np.float32), (np.square(singular[:rank]) / energy).astype(np.float32)

    @property
    def numbers(self) -> dict[str, Any]:
        strongest = self.strongest(16)
        return {
            "layer": self.layer,
            "shape": list(self.values.shape),
            "norm": self.norm,
            "strongest": [{"input": int(index), "norm": float(self.norms[index])} for index in strongest],
        }


def kernel_of(net: nn.Module | object, layer: str, channel: int, width: int) -> KernelWeights | None:
    """The weights that make a channel of a layer, the last that do where it holds several; None if there are none.

    width: the layer's channels. A linear layer's weights are slices of 1 × 1.
    """
    root = unwrap(net)
    named = named_layers(root)
    inside = {
        name: module for name, module in named.items() if name == layer or name.startswith(f"{layer}." if layer else "")
    }
    with evaluating(root):  # a spectral norm in training changes when somebody asks for its weight
        makers = [(name, weight) for name, module in inside.items() if (weight := _weight(module, width)) is not None]
    if not makers:
        return None
    name, weight = makers[-1]
    convolutions = [other for other, module in named.items() if isinstance(module, nn.Conv2d)]
    values = weight[channel].detach().float().cpu()
    usual = float(weight.detach().float().flatten(1).norm(dim=1).nanmedian())
    values = values.reshape(len(values), 1, 1) if values.dim() == 1 else values
    return KernelWeights(
        name, values.numpy(), bool(convolutions) and convolutions[0] == name and len(values) == 3, usual
    )


def _weight(module: nn.Module, width: int) -> torch.Tensor | None:
    """(width, in, kh, kw) or (width, in), of a layer that puts out so many channels."""
    if isinstance(module, nn.Conv2d) and module.out_channels == width:
        return module.weight
    if isinstance(module, nn.ConvTranspose2d) and module.out_channels == width and module.groups == 1:
        return module.weight.transpose(0, 1)
    if isinstance(module, nn.Linear) and module.out_features == width:
        return module.weight
    return None
