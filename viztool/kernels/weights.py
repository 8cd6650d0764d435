"""The raw weights behind a channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from viztool.hooks.evaluating import evaluating
from viztool.hooks.naming import named_layers, unwrap
from viztool.kernels.expanded import Expanded
from viztool.kernels.main_path import maker_of
from viztool.models.model import Model
from viztool.results import Part

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False, repr=False)
class KernelWeights(Part):
    """The kernel that makes one channel. values: (in, kh, kw), of the layer called `layer`.

    is_first: it is the network's first. bgr: its slices are of blue, green and red. usual: the median length of the
    layer's kernels. expanded: of single weights, the kernels from the layer before through all that is linear.
    """

    layer: str
    values: Array
    is_first: bool
    usual: float = 0.0
    bgr: bool = False
    expanded: Expanded | None = None

    @property
    def on_colors(self) -> Array:
        """(3, kh, kw) of one that sees colours: its slices on red, green and blue."""
        return self.values[::-1] if self.bgr else self.values

    @property
    def sees_colors(self) -> bool:
        """Whether its slices are red, green and blue."""
        return self.is_first and len(self.values) == 3

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
        before = {} if self.expanded is None else _numbers(self.expanded)
        return {
            "layer": self.layer,
            "shape": list(self.values.shape),
            "norm": self.norm,
            "strongest": [{"input": int(index), "norm": float(self.norms[index])} for index in strongest],
            **before,
        }


def _numbers(expanded: Expanded) -> dict[str, Any]:
    return {"expanded": {"from": expanded.source, "strongest": expanded.strongest(9)}}


def kernel_of(
    model: Model, layer: str, channel: int, width: int, size: tuple[int, int] | None = None
) -> KernelWeights | None:
    """The weights that make a channel of a layer of so many, see `maker_of`; None if there are none."""
    maker = maker_of(model, layer, width, size)
    return None if maker is None else weights_of(model, maker, channel)


def weights_of(model: Model, name: str, channel: int) -> KernelWeights:
    """The weights of one channel of the kernel of this name. A linear layer's are slices of 1 × 1."""
    root = unwrap(model.net)
    named = named_layers(root)
    with evaluating(root):  # a spectral norm in training changes when somebody asks for its weight
        weight = _weight(named[name]).detach().float()
    values = weight[channel].cpu()
    first = next((other for other, module in named.items() if isinstance(module, nn.Conv2d)), None)
    return KernelWeights(
        name,
        values.numpy(),
        first == name,
        float(weight.flatten(1).norm(dim=1).nanmedian()),
        model.input.channel_order == "bgr",
    )


def _weight(kernel: nn.Module) -> Tensor:
    """(out, in, kh, kw) of a kernel."""
    weight = kernel.weight
    assert isinstance(weight, Tensor)
    if isinstance(kernel, nn.ConvTranspose2d):  # its inputs come first, and each group has outputs of its own
        return weight.reshape(kernel.groups, -1, *weight.shape[1:]).transpose(1, 2).flatten(0, 1)
    return weight if weight.dim() == 4 else weight[..., None, None]
