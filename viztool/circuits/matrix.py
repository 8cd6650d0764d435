"""What every channel of a layer does to every unit of the next one, on one photo: each is knocked out but once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from viztool.circuits.between import Between, Channels
from viztool.circuits.knock import Doubles, Units, changes
from viztool.hooks.evaluating import evaluating
from viztool.hooks.frozen import frozen
from viztool.hooks.naming import unwrap
from viztool.inspect.survey import Site, survey
from viztool.models.model import Model


@dataclass(frozen=True, eq=False)
class Effects:
    """effects: (C of the source, C of the later layer): what each of its units loses, at the place of its maximum."""

    source: str
    later: str
    effects: Doubles


def effects_on(model: Model | nn.Module, x: Tensor, layers: Sequence[str]) -> list[Effects]:
    """Between each of these layers and the next, in the order in which they end, on one photo, (1, C, H, W).

    A channel is replaced by its mean over this photo. Layers without maps or that run several times are left out.
    """
    net = unwrap(model)
    with torch.inference_mode(False), torch.no_grad(), evaluating(net), frozen(net):
        known = survey(net, x)
        sites = [known.sites[name] for name in layers if name in known.sites and known.sites[name].calls == 1]
        sites.sort(key=lambda site: site.ends)
        return [_between(net, x, one, other) for one, other in pairwise(sites)]


def _between(net: nn.Module, x: Tensor, source: Site, later: Site) -> Effects:
    between = Between(net, x, source, later)
    own = between.own
    # Of each token that is no place, the mean over this photo is the token.
    instead = Channels(own.maps.mean((1, 2), keepdim=True), own.others)
    maps = between(between.copies(1))[0]
    at = maps.flatten(1).argmax(1).cpu().numpy()
    units = Units(np.arange(len(maps)), at // maps.shape[2], at % maps.shape[2])
    groups = [[channel] for channel in range(source.channels)]
    return Effects(source.name, later.name, changes(between, groups, instead, units))
