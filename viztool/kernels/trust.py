"""Whether an optimum goes through the network as photos do: Geirhos et al. 2023 (arXiv 2306.04719).

A picture can excite a unit as much as a photo and take another path there. Then it shows something, but not what the
unit does on photos. Compared, layer by layer: the rank correlation of the channels' means of the optimum with those of
the unit's top photos, beside that of two of these photos, and of a photo with noise of the same spectrum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from viztool.hooks.capture import capture
from viztool.hooks.evaluating import evaluating
from viztool.hooks.naming import named_layers, unwrap
from viztool.hooks.select import exactly
from viztool.inspect.ranks import rank_correlation
from viztool.inspect.survey import survey
from viztool.models.model import Model
from viztool.render.colormaps import Picture
from viztool.results import Part

Doubles = npt.NDArray[np.float64]
Means = list[Doubles]
"""Of one picture: the channels' spatial means, layer by layer."""


@dataclass(frozen=True, eq=False, repr=False)
class Paths(Part):
    """Mean rank correlations, layer by layer: of the optimum with photos, of photos with one another, with noise."""

    layers: tuple[str, ...]
    optimum: Doubles
    photos: Doubles
    noise: Doubles

    @property
    def likeness(self) -> float:
        """Over all layers, where the optimum is from noise (0) to photos (1); NaN where these do not differ."""
        room = float(self.photos.mean() - self.noise.mean())
        return float(self.optimum.mean() - self.noise.mean()) / room if room > 1e-6 else float("nan")

    @property
    def numbers(self) -> dict[str, Any]:
        """Ready for JSON."""
        likeness = self.likeness
        return {
            "likeness": likeness if np.isfinite(likeness) else None,
            "layers": list(self.layers),
            **{name: getattr(self, name).tolist() for name in ("optimum", "photos", "noise")},
        }


class Guide:
    """The way through a network up to a layer: the blocks that run before it; of a network without any, convolutions.

    What a convolution puts out before a norm has an order of channels of its own, whatever it is shown.
    """

    def __init__(self, model: Model, layer: str) -> None:
        self._model, self._net = model, unwrap(model.net)
        x = torch.zeros(1, model.channels, *model.size, device=model.device, dtype=model.dtype)
        known = survey(self._net, x)
        named = named_layers(self._net)
        end = known.site(layer).ends
        before = [site.name for site in known.sites.values() if site.ends <= end and site.calls == 1 and site.name]
        before.sort(key=lambda name: known.sites[name].ends)
        blocks = [name for name in before if _is_block(named[name])]
        self.layers = tuple(
            blocks if len(blocks) > 1 else [name for name in before if isinstance(named[name], nn.Conv2d)]
        )

    def compare(self, optimum: Picture, photos: Sequence[Picture], seed: int = 0) -> Paths | None:
        """optimum, photos: (h, w, 3), as the network sees them. None without two photos and a convolution."""
        if len(photos) < 2 or not self.layers:
            return None
        own = self._means(optimum)
        seen = [self._means(photo) for photo in photos]
        noisy = [self._means(scrambled(photo, seed + at)) for at, photo in enumerate(photos)]
        return Paths(
            self.layers,
            _alike([(own, one) for one in seen]),
            _alike(list(combinations(seen, 2))),
            _alike([(one, other) for one, other in zip(noisy, [*seen[1:], seen[0]], strict=True)]),
        )

    def _means(self, picture: Picture) -> Means:
        x = self._model.input.standardize(_as_tensor(picture, self._model)).to(self._model.dtype)
        with (
            evaluating(self._net),
            torch.no_grad(),
            capture(self._net, exactly(self.layers), stop=True, reduce=_spatial_means) as acts,
        ):
            self._net(x)
        return [acts[layer] for layer in self.layers]


def _is_block(layer: nn.Module) -> bool:
    """Whether it holds several convolutions, and does more than to run them one after the other."""
    inside = sum(isinstance(part, nn.Conv2d) for part in layer.modules())
    return inside > 1 and not isinstance(layer, nn.Sequential)


def scrambled(photo: Picture, seed: int) -> Picture:
    """A photo's spectrum with the phases of noise: as bright and as coarse, and nothing in it."""
    rng = np.random.default_rng(seed)
    noise = np.fft.fft2(rng.standard_normal(photo.shape[:2]))
    phases = noise / np.maximum(np.abs(noise), 1e-12)
    phases[0, 0] = 1  # its mean
    found = np.fft.ifft2(np.fft.fft2(photo, axes=(0, 1)) * phases[..., None], axes=(0, 1)).real
    return np.asarray(np.rint(found).clip(0, 255), np.uint8)


def _as_tensor(picture: Picture, model: Model) -> Tensor:
    pixels = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float() / 255
    pixels = pixels if model.channels == 3 else pixels.mean(1, keepdim=True)
    return pixels.to(model.device)


def _spatial_means(maps: Tensor) -> Doubles:
    return np.asarray(maps.detach().double().mean((2, 3))[0].cpu().numpy(), np.float64)


def _alike(pairs: Sequence[tuple[Means, Means]]) -> Doubles:
    """(layers,): the mean over pairs; a layer that does not vary counts as 0."""
    rows = [[rank_correlation(one, other) or 0.0 for one, other in zip(*pair, strict=True)] for pair in pairs]
    return np.asarray(np.mean(rows, 0), np.float64)
