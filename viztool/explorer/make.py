"""From a network and photos to a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from viztool.errors import ModelError
from viztool.explorer.concepts import known_concepts
from viztool.explorer.flows import add_flows
from viztool.explorer.look import look
from viztool.explorer.page import Page
from viztool.explorer.payload import payload
from viztool.explorer.world import World, add_atlas, add_optima
from viztool.hooks.select import Patterns
from viztool.models.model import Model
from viztool.render.colormaps import Picture

if TYPE_CHECKING:
    from viztool.atlas import Atlas
    from viztool.craft import Concepts
    from viztool.kernels import Run


def explore(
    model: Model | nn.Module,
    photo: Picture | Sequence[Picture] | Tensor,
    layers: Patterns | None = None,
    atlas: Atlas | str | Path | None = None,
    kernels: bool = False,
    *,
    circuits: bool = False,
    concepts: Concepts | str | Path | None = None,
    small: bool = False,
    source: str | Sequence[str] = "photo",
    run: Run | None = None,
) -> Page:
    """A page to walk through a network on a photo: every unit, what it looked at, and the sum that made it.

    >>> viztool.explore(model, photo).save("cat.html")  # doctest: +SKIP

    photo: uint8 RGB (H, W, 3), or several, between which the page switches; or a tensor (1, C, H, W), normalised
    already, which a bare network needs. layers: as in `feature_maps`; those without maps are shown as bars.
    atlas: of the network, or the folder it is in: what each channel answers to in a whole data set.
    kernels: draw what excites the foremost channels of each layer; this takes seconds a channel.
    circuits: measure what each channel does to the channels of the next layer that is shown, on this photo, to walk
    along, and how relevant each is for the class: a run of what stands between for each channel.
    concepts: of a class, or the .npz that they were saved in: where they are in this photo, and their channels. Their
    layer is shown with the others.
    small: maps in 256 steps. source: what the photo is called, or each of several. run: where finished pictures of
    `kernels` are kept, as in `visualize_kernels`.

    The network is left as it was. Raises LayerError and ModelError as `feature_maps` does.
    """
    single = isinstance(photo, Tensor) or (isinstance(photo, np.ndarray) and photo.ndim == 3)
    photos: list[Any] = [photo] if single else list(photo)
    names = [source] * len(photos) if isinstance(source, str) else list(source)
    if not photos or len(names) != len(photos):
        raise ModelError(f"a page needs a photo, and a name for each; got {len(photos)} photos, {len(names)} names")
    known_parts = None if concepts is None else known_concepts(concepts)
    if known_parts is not None:
        known_parts.refuse_another(model, photos[0])  # first: another network may not even have their layer
        layers = known_parts.beside(layers)
    looks = tuple(look(model, each, layers, name) for each, name in zip(photos, names, strict=True))
    if len({tuple(layer.of.maps.shape for layer in each.layers) for each in looks}) > 1:
        raise ModelError("the photos have maps of several sizes here: make a page of each")
    world = World()
    if atlas is not None:
        from viztool.atlas import Atlas, open_atlas

        known = atlas if isinstance(atlas, Atlas) else open_atlas(atlas)
        add_atlas(world, known, model, photos, looks[0])
    if kernels:
        add_optima(world, model, looks[0], run)
    if circuits:
        add_flows(world, model, photos, looks)
    return Page(looks, payload(looks, world, known_parts, small=small), world)
