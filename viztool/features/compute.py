"""From a network and photos to feature maps, in one forward pass each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import numpy as np
from torch import Tensor, nn

from viztool.features.looking import FeatureLook
from viztool.features.result import FeatureMaps, Normalize
from viztool.hooks.select import Patterns
from viztool.models.model import Model
from viztool.render.colormaps import Picture
from viztool.results import Results


@overload
def feature_maps(
    model: Model | nn.Module,
    photo: Picture,
    layers: Patterns | None = None,
    top: int | None = 16,
    *,
    normalize: Normalize = "channel",
    overlay: bool = False,
    source: str = "photo",
) -> FeatureMaps: ...
@overload
def feature_maps(
    model: Model | nn.Module,
    photo: Sequence[Picture],
    layers: Patterns | None = None,
    top: int | None = 16,
    *,
    normalize: Normalize = "channel",
    overlay: bool = False,
    source: str = "photo",
) -> Results[FeatureMaps]: ...
@overload
def feature_maps(
    model: Model | nn.Module,
    photo: Tensor,
    layers: Patterns | None = None,
    top: int | None = 16,
    *,
    normalize: Normalize = "channel",
    overlay: bool = False,
    source: str = "photo",
) -> FeatureMaps | Results[FeatureMaps]: ...


def feature_maps(
    model: Model | nn.Module,
    photo: Picture | Sequence[Picture] | Tensor,
    layers: Patterns | None = None,
    top: int | None = 16,
    *,
    normalize: Normalize = "channel",
    overlay: bool = False,
    source: str = "photo",
) -> FeatureMaps | Results[FeatureMaps]:
    """The maps of a network's layers for a photo.

    photo: uint8 RGB (H, W, 3), or a list of these; or a tensor (N, C, H, W), normalised already, which a
    bare network needs. Several photos, or a tensor with N > 1, give a list of results.
    layers: patterns or modules as in `capture`; by default the last layer at each resolution.
    top: how many channels to draw of each layer, those with the largest spatial standard deviation;
    None for all. All are kept in `.layers[i].maps`.
    normalize: one colour scale for each "channel", or one for all of a "layer"; or "minmax", from each channel's
    smallest value to its largest, for maps with a large offset.
    overlay: draw each map over the photo. source: what the photo is called on the sheet.

    The network runs once for each photo, in evaluation mode and without grad, and is left as it was. Raises LayerError
    if no layer matches or none of them has maps, ModelError if the network cannot run on the photo.
    """
    results = FeatureLook(model, layers, top, normalize=normalize, overlay=overlay).at(photo, source)
    one = len(photo) == 1 if isinstance(photo, Tensor) else isinstance(photo, np.ndarray) and photo.ndim == 3
    return results[0] if one else results
