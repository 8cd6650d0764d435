"""What is unusual in a photo: the units that answer to it as to few others of a data set."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from viztool.atlas import bins
from viztool.atlas.fingerprint import differences
from viztool.atlas.made_with import precision, weights_digest
from viztool.atlas.tally import look
from viztool.atlas.unit import Layer
from viztool.errors import ModelError, ViztoolError
from viztool.hooks.capture import capture
from viztool.hooks.evaluating import evaluating
from viztool.hooks.naming import unwrap
from viztool.models.model import Model, wrap_model
from viztool.render.colormaps import Picture


class Known(Protocol):
    """What a photo is compared with: an atlas."""

    folder: Path
    about: Mapping[str, Any]

    @property
    def photos(self) -> int:
        """How many were looked at."""

    @property
    def layers(self) -> dict[str, int]:
        """The channels of each layer, in the order in which they run."""

    def __getitem__(self, layer: str) -> Layer:
        """The units of a layer."""


@dataclass(frozen=True)
class Unusual:
    """A unit on a photo. value: its spatial maximum there, at `place`. share: of the atlas's photos that exceed it.

    reached: the share that come as far, to a bin: all that saturate are alike. deviations: how many standard deviations
    the value is above the mean of all photos' maxima.
    """

    layer: str
    channel: int
    value: float
    share: float
    reached: float
    place: tuple[int, int]
    deviations: float

    @property
    def row(self) -> tuple[str, int, float, float]:
        return self.layer, self.channel, self.value, self.share


def refuse_none(atlas: Known) -> None:
    """Raises ViztoolError if no photo of the atlas could be looked at: there is nothing to compare with."""
    if not atlas.photos:
        raise ViztoolError(f"{atlas.folder} is of no photo: none could be looked at; viztool atlas check says why")


def _refuse_another(atlas: Known, model: Model) -> bool:
    """Raises ViztoolError if its values cannot stand beside the atlas's. Returns whether those are of halves."""
    told = atlas.about["fingerprint"]
    half = precision(model.dtype, half=True)
    own = {
        "weights": weights_digest(unwrap(model.net)),
        "preprocessing": model.preprocessing,
        "precision": half if told["precision"] == half else precision(model.dtype, half=False),
    }
    changed = differences({name: told[name] for name in own}, own)
    if changed:
        raise ViztoolError(f"{model.name} is not what {atlas.folder} is of ({'; '.join(changed)})")
    return own["precision"] == half


def unusual(atlas: Known, model: Model | nn.Module, photo: Picture, count: int) -> list[Unusual]:
    """As `Atlas.unusual`, with more of each."""
    refuse_none(atlas)
    known = model if isinstance(model, Model) else wrap_model(model)
    net = unwrap(known.net)
    half = _refuse_another(atlas, known)
    x = known.preprocess(photo).to(known.dtype)
    lower = torch.autocast(x.device.type, torch.bfloat16) if half else nullcontext()
    with torch.inference_mode(False), torch.no_grad(), evaluating(net), lower:
        with capture(net, list(atlas.layers), stop=True, maps=True) as acts:
            net(x)
        seen = {name: look(acts[name].detach().float().cpu().numpy()) for name in atlas.layers}
    found = []
    for name, each in seen.items():
        if not each.finite.all():
            raise ModelError(f"the activations of {name} are not finite (NaN or infinity) on this photo")
        layer = atlas[name]
        counts = layer.counts("maximum")
        from_here = np.concatenate([np.cumsum(counts[:, ::-1], 1)[:, ::-1], np.zeros((len(counts), 1), np.int64)], 1)
        codes = bins.codes(np.ascontiguousarray(each.highest))[0].astype(np.int64)
        reached, shares = (from_here[np.arange(len(layer)), codes + more] / max(1, atlas.photos) for more in (0, 1))
        sd = layer.unit_numbers["maximum_sd"]
        with np.errstate(divide="ignore", invalid="ignore"):
            deviations = np.where(sd > 0, (each.highest[0] - layer.unit_numbers["maximum_mean"]) / sd, 0.0)
        for channel in range(len(layer)):
            row, column = divmod(int(each.highest_at[0, channel]), each.width)
            found.append(
                Unusual(
                    name,
                    channel,
                    float(each.highest[0, channel]),
                    float(shares[channel]),
                    float(reached[channel]),
                    (row, column),
                    float(deviations[channel]),
                )
            )
    # By those that come as far: none exceed a unit that is dead, or one that saturates, on any photo.
    found.sort(key=lambda one: (one.reached, one.share, -one.deviations))
    return found[:count]
