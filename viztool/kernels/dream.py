"""A photo, changed so that a layer sees more of what it sees in it: DeepDream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from viztool.errors import ViztoolError
from viztool.hooks.select import Pattern
from viztool.kernels.ascent import generators
from viztool.kernels.network import Stopped
from viztool.kernels.objectives import Objective, View, channel, layer_energy
from viztool.kernels.pixels import to_pixels
from viztool.kernels.units import one_layer
from viztool.models.model import Model, wrap_model
from viztool.models.preprocess import LUMA, check_photo
from viztool.render.colormaps import Picture
from viztool.render.numbers import number
from viztool.results import Result, versions
from viztool.tensors.graph import mend_norms
from viztool.tensors.size import Size

_RATIO = 1.4
_JITTER = 32
_SMALLEST = 32
_STREAM = 4


@dataclass(frozen=True, eq=False, repr=False)
class Dream(Result):
    """pixels: (h, w, 3). before, after: the objective, of the photo and of its dream, at the size that is drawn."""

    pixels: Picture
    source: str
    network: str
    layer: str
    objective: str
    before: float
    after: float
    settings: Mapping[str, Any]

    def picture(self) -> Picture:
        """The dream itself: uint8 (h, w, 3) RGB."""
        return self.pixels

    @property
    def numbers(self) -> dict[str, Any]:
        """Every figure, ready for JSON."""
        return {
            "source": self.source,
            "network": self.network,
            "layer": self.layer,
            "objective": self.objective,
            "before": self.before,
            "after": self.after,
            "picture": list(self.pixels.shape[:2]),
            "settings": dict(self.settings),
            "versions": versions(),
        }

    @property
    def in_words(self) -> str:
        """What rose, and how far."""
        return f"{self.objective} from {number(self.before, '.3g')} to {number(self.after, '.3g')}"


def dream(
    model: Model | nn.Module,
    photo: Picture,
    layer: Pattern,
    index: int | None = None,
    *,
    octaves: int = 4,
    steps: int = 12,
    strength: float = 0.008,
    longest: int = 640,
    seed: int = 0,
    source: str = "photo",
) -> Dream:
    """Dream of a layer on a photo, uint8 RGB (H, W, 3): from coarse to fine, each octave 1.4 times as large.

    index: a channel, in place of all that the layer sees. steps: in each octave. strength: how far a step moves the
    mean pixel, in [0, 1]. longest: side of the dream at most, in pixels. Each step looks at the photo shifted anew.
    Mordvintsev et al. 2015, "Inceptionism". Raises LayerError and ModelError for what does not fit.
    """
    if octaves < 1 or steps < 1:
        raise ViztoolError("a dream needs at least one octave and one step")
    known = model if isinstance(model, Model) else wrap_model(model)
    name = one_layer(known, layer)
    wanted = layer_energy(name) if index is None else channel(name, index)
    with torch.inference_mode(False), torch.no_grad():
        whole = _tensor(known, photo, longest)
        full: Size = (whole.shape[-2], whole.shape[-1])
        image = base = whole
        shifts = generators([(seed, 0)], _STREAM)[0]
        for octave in reversed(range(octaves)):
            size = (_shrunk(full[0], octave), _shrunk(full[1], octave))
            # What was dreamt up so far goes on top of the photo at the next size, which keeps the photo sharp.
            dreamt = _resized(image - base, size)
            base = _resized(whole, size)
            image = (base + dreamt).clamp(0, 1)
            network = Stopped(known, [name], size)
            for _ in range(steps):
                image = _step(network, wanted, image, strength, shifts)
        return Dream(
            pixels=to_pixels(image[0]),
            source=source,
            network=known.name,
            layer=name,
            objective=str(wanted),
            before=_score(network, wanted, whole),
            after=_score(network, wanted, image),
            settings={"octaves": octaves, "steps": steps, "strength": strength, "longest": longest, "seed": seed},
        )


def _shrunk(side: int, octave: int) -> int:
    return max(min(side, _SMALLEST), round(side / _RATIO**octave))


def _tensor(model: Model, photo: Picture, longest: int) -> Tensor:
    """(1, C, h, w) in [0, 1], no side longer than that."""
    model.input.require_photo_channels()
    x = torch.tensor(check_photo(photo), device=model.device).permute(2, 0, 1)[None].float() / 255
    if model.channels == 1:
        x = (x * x.new_tensor(LUMA).view(3, 1, 1)).sum(1, keepdim=True)
    scale = min(1.0, longest / max(x.shape[-2:]))
    return _resized(x, (max(_SMALLEST, round(x.shape[-2] * scale)), max(_SMALLEST, round(x.shape[-1] * scale))))


def _resized(x: Tensor, size: Size) -> Tensor:
    if (x.shape[-2], x.shape[-1]) == size:
        return x
    return F.interpolate(x, size, mode="bicubic", align_corners=False, antialias=True)


def _step(network: Stopped, wanted: Objective, image: Tensor, strength: float, shifts: torch.Generator) -> Tensor:
    down, right = torch.randint(-_JITTER, _JITTER + 1, (2,), generator=shifts).tolist()
    shifted = torch.roll(image, (down, right), (2, 3)).requires_grad_()
    with torch.enable_grad():
        score = wanted.score(View(shifted, network(shifted)))
        mend_norms(score)
        (gradient,) = torch.autograd.grad(score.sum(), shifted)
    gradient = torch.roll(gradient, (-down, -right), (2, 3))
    return (image + strength * gradient / gradient.abs().mean().clamp_min(1e-20)).nan_to_num(0.5).clamp(0, 1)


def _score(network: Stopped, wanted: Objective, image: Tensor) -> float:
    return float(wanted.score(View(image, network(image)))[0])
