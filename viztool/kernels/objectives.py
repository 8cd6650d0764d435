"""What a picture is to do to a network. Objectives add and scale like numbers.

>>> wanted = channel("blocks.4", 3) - 0.1 * total_variation()
>>> print(wanted)
blocks.4 #3 - 0.1 * total variation
>>> mixed = 0.5 * (channel("blocks.3", 1) + channel("blocks.4", 8))

Negative ones are `-channel(...)`. Each gives one number for each picture, and more is better. Some are of several
pictures that are optimised together: `diversity`, `interpolation`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from viztool.errors import LayerError
from viztool.hooks.naming import kind_of
from viztool.hooks.select import Pattern

OUTPUT = ""
"""The layer that is the network itself."""


@dataclass(frozen=True)
class View:
    """What objectives look at, of the n pictures that belong together.

    image: (n, C, h, w) in [0, 1], not transformed. maps: by layer, (n, C, h, w); (n, K, 1, 1) of a vector.
    """

    image: Tensor
    maps: Mapping[Pattern, Tensor]


@dataclass(frozen=True, eq=False)
class Objective:
    """score: from a `View` to (n,). layers: whose maps it needs. Other objectives and numbers can be added."""

    name: str
    score: Callable[[View], Tensor]
    layers: frozenset[Pattern] = frozenset()

    def __str__(self) -> str:
        return self.name

    def __add__(self, other: Objective) -> Objective:
        return Objective(
            f"{self.name} + {other.name}",
            lambda view: self.score(view) + other.score(view),
            self.layers | other.layers,
        )

    def __sub__(self, other: Objective) -> Objective:
        return Objective(
            f"{self.name} - {other._factor_name}",
            lambda view: self.score(view) - other.score(view),
            self.layers | other.layers,
        )

    def __mul__(self, factor: float) -> Objective:
        return Objective(f"{factor:g} * {self._factor_name}", lambda view: factor * self.score(view), self.layers)

    __rmul__ = __mul__

    def __truediv__(self, factor: float) -> Objective:
        return self * (1 / factor)

    def __neg__(self) -> Objective:
        return Objective(f"-{self._factor_name}", lambda view: -self.score(view), self.layers)

    @property
    def _factor_name(self) -> str:
        return f"({self.name})" if " + " in self.name or " - " in self.name else self.name


def called(layer: Pattern) -> str:
    """A layer's name; of a module, as nobody has said of which network it is, its class."""
    return layer if isinstance(layer, str) else kind_of(layer)


def _of_layer(name: str, layer: Pattern, score: Callable[[Tensor], Tensor]) -> Objective:
    return Objective(name, lambda view: score(view.maps[layer]), frozenset([layer]))


def _at(maps: Tensor, index: int, layer: Pattern) -> Tensor:
    if not -maps.shape[1] <= index < maps.shape[1]:
        raise LayerError(
            f"layer {called(layer)!r} has {maps.shape[1]} channels, 0 to {maps.shape[1] - 1}, and no {index}"
        )
    return maps[:, index]


def channel(layer: Pattern, index: int) -> Objective:
    """The spatial mean of one channel."""
    return _of_layer(f"{called(layer)} #{index}", layer, lambda maps: _at(maps, index, layer).mean((1, 2)))


def neuron(layer: Pattern, index: int, y: int | None = None, x: int | None = None) -> Objective:
    """One channel at one position, by default the middle."""

    def score(maps: Tensor) -> Tensor:
        one = _at(maps, index, layer)
        h, w = one.shape[1:]
        row, column = h // 2 if y is None else y, w // 2 if x is None else x
        if not (-h <= row < h and -w <= column < w):
            raise LayerError(f"layer {called(layer)!r} has {h} × {w} positions here, and no {row}, {column}")
        return one[:, row, column]

    place = "" if y is None and x is None else f" at {y}, {x}"
    return _of_layer(f"{called(layer)} #{index} neuron{place}", layer, score)


def direction(layer: Pattern, vector: Tensor, *, cosine: float = 0.0) -> Objective:
    """The spatial mean of the product with a direction in channel space, (C,).

    cosine: times its cosine similarity to this power, so that the direction counts and not only the length.
    """
    return _of_layer(
        f"{called(layer)} direction", layer, lambda maps: _along(maps, vector[:, None, None], cosine).mean((1, 2))
    )


def spatial_direction(
    layer: Pattern, vector: Tensor, y: int | None = None, x: int | None = None, *, cosine: float = 0.0
) -> Objective:
    """The same at one position, by default the middle."""

    def score(maps: Tensor) -> Tensor:
        row, column = maps.shape[2] // 2 if y is None else y, maps.shape[3] // 2 if x is None else x
        return _along(maps, vector[:, None, None], cosine)[:, row, column]

    return _of_layer(f"{called(layer)} direction at {y}, {x}", layer, score)


def _along(maps: Tensor, vectors: Tensor, cosine: float) -> Tensor:
    """(n, h, w): the product over channels with `vectors`, (C, 1, 1) or (C, h, w)."""
    vectors = vectors.to(maps)
    product = (maps * vectors).sum(1)
    if not cosine:
        return product
    similarity = product / (maps.norm(dim=1) * vectors.norm(dim=0)).clamp_min(1e-12)
    weighted: Tensor = product * similarity.clamp_min(0.1) ** cosine
    return weighted


def logit(index: int) -> Objective:
    """A class's score before the softmax."""
    return _of_layer(f"class {index}", OUTPUT, lambda maps: _at(maps, index, OUTPUT).mean((1, 2)))


def layer_energy(layer: Pattern) -> Objective:
    """The mean square of all that a layer puts out: DeepDream (Mordvintsev et al. 2015)."""
    return _of_layer(f"{called(layer)} energy", layer, lambda maps: maps.square().mean((1, 2, 3)))


def interpolation(first: Objective, second: Objective) -> Objective:
    """From one objective, for the first of several pictures, to another, for the last."""

    def score(view: View) -> Tensor:
        shares = torch.linspace(0, 1, len(view.image)).to(view.image)
        return (1 - shares) * first.score(view) + shares * second.score(view)

    return Objective(f"{first} to {second}", score, first.layers | second.layers)


def diversity(layer: Pattern) -> Objective:
    """How little alike several pictures are in a layer: minus the mean cosine similarity of their Gram matrices.

    Olah et al. 2017, "Feature Visualization".
    """

    def score(maps: Tensor) -> Tensor:
        flat = maps.flatten(2)
        gram = F.normalize((flat @ flat.transpose(1, 2)).flatten(1), dim=1)
        alike = gram @ gram.T
        others = max(1, len(gram) - 1)
        return -(alike.sum(1) - alike.diagonal()) / others

    return _of_layer(f"{called(layer)} diversity", layer, score)


def caricature(layer: Pattern, reference: Tensor, *, cosine: float = 4.0) -> Objective:
    """More of what a layer saw in a photo: its product with the photo's own maps, (C, h, w), times cosine ** power.

    Where the pictures' maps have another size the photo's are resized.
    """

    def score(maps: Tensor) -> Tensor:
        return _along(maps, _resized(reference, maps), cosine).mean((1, 2))

    return _of_layer(f"{called(layer)} caricature", layer, score)


def activation_match(layer: Pattern, reference: Tensor) -> Objective:
    """Inversion: minus the squared distance to a photo's maps, (C, h, w), over their own squared length.

    Mahendran and Vedaldi 2015, "Understanding Deep Image Representations by Inverting Them".
    """

    def score(maps: Tensor) -> Tensor:
        wanted = _resized(reference, maps)
        return -(maps - wanted).square().sum((1, 2, 3)) / wanted.square().sum().clamp_min(1e-12)

    return _of_layer(f"{called(layer)} inversion", layer, score)


def _resized(reference: Tensor, maps: Tensor) -> Tensor:
    wanted = reference.detach().to(maps)
    if wanted.shape[1:] != maps.shape[2:]:
        wanted = F.interpolate(wanted[None], maps.shape[2:], mode="bilinear", align_corners=False)[0]
    return wanted


def total_variation() -> Objective:
    """The mean absolute difference of neighbouring pixels; to be subtracted (Rudin et al. 1992)."""

    def score(view: View) -> Tensor:
        image = view.image
        return image.diff(dim=2).abs().mean((1, 2, 3)) + image.diff(dim=3).abs().mean((1, 2, 3))

    return Objective("total variation", score)


def l1(centre: float = 0.5) -> Objective:
    """The mean absolute distance of pixels from mid-grey; to be subtracted."""
    return Objective("L1", lambda view: (view.image - centre).abs().mean((1, 2, 3)))


def l2(centre: float = 0.5) -> Objective:
    """The mean squared distance of pixels from mid-grey; to be subtracted."""
    return Objective("L2", lambda view: (view.image - centre).square().mean((1, 2, 3)))


def blur() -> Objective:
    """The mean squared distance of a picture from itself blurred, 3 × 3 binomial; to be subtracted."""

    def score(view: View) -> Tensor:
        image = view.image
        line = image.new_tensor([0.25, 0.5, 0.25])
        kernel = (line[:, None] * line).expand(image.shape[1], 1, 3, 3)
        padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
        return (image - F.conv2d(padded, kernel, groups=image.shape[1])).square().mean((1, 2, 3))

    return Objective("blur", score)
