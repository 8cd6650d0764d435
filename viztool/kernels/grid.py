"""What each place of a photo is to a layer: every position drawn by what its own activations look for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from viztool.hooks.select import Pattern
from viztool.kernels.ascent import Callback
from viztool.kernels.loop import maximize
from viztool.kernels.network import Stopped
from viztool.kernels.objectives import direction
from viztool.kernels.pixels import to_pixels
from viztool.kernels.units import one_layer
from viztool.models.model import Model, wrap_model
from viztool.render.canvas import Canvas
from viztool.render.colormaps import Picture
from viztool.render.grid_sheet import grid_sheet
from viztool.results import Result, made_by, versions


@dataclass(frozen=True, eq=False, repr=False)
class ActivationGrid(Result):
    """cells: (rows, columns, s, s, 3), a picture for each place. strength: (rows, columns), the activations' length."""

    view: Picture
    cells: Picture
    strength: np.ndarray[Any, Any]
    source: str
    network: str
    weights: str
    layer: str
    settings: Mapping[str, Any]

    def drawing(self) -> Canvas:
        """What the network was given, and beside it the grid."""
        rows, columns = self.cells.shape[:2]
        return grid_sheet(
            f"What {self.layer} makes of {self.source}",
            f"{self.network} · {self.weights}",
            [
                f"{rows} × {columns} places; each is drawn as what its own activations look for, all channels together "
                f"({self.settings['steps']} steps of gradient ascent).",
                "Paler where the activations are weaker.",
            ],
            self.view,
            self.cells,
            self.strength / max(float(self.strength.max()), 1e-20),
            f"seed {self.settings['seed']} · {made_by()}",
        )

    @property
    def numbers(self) -> dict[str, Any]:
        """Every figure, ready for JSON."""
        return {
            "source": self.source,
            "network": self.network,
            "weights": self.weights,
            "layer": self.layer,
            "strength": [[float(value) for value in row] for row in self.strength],
            "settings": dict(self.settings),
            "versions": versions(),
        }

    @property
    def in_words(self) -> str:
        """Of what the places are."""
        rows, columns = self.cells.shape[:2]
        return f"{rows} × {columns} places of {self.layer}, {self.source}"

    @property
    def arrays(self) -> dict[str, Any]:
        """The pictures of the cells and the strengths."""
        return {"cells": self.cells, "strength": self.strength}


def activation_grid(
    model: Model | nn.Module,
    photo: Picture,
    layer: Pattern,
    *,
    most: int = 14,
    steps: int = 96,
    size: int = 64,
    seed: int = 0,
    source: str = "photo",
    callback: Callback | None = None,
) -> ActivationGrid:
    """Draw each spatial position of a layer's maps for a photo, uint8 RGB (H, W, 3), by its own direction.

    most: rows and columns at most; larger maps are averaged. steps, size: of each cell's ascent.
    Olah et al. 2018, "The Building Blocks of Interpretability".
    """
    known = model if isinstance(model, Model) else wrap_model(model)
    name = one_layer(known, layer)
    maps = _maps(known, photo, name, most)
    channels, rows, columns = maps.shape
    vectors = maps.flatten(1).T
    objectives = [direction(name, F.normalize(vector, dim=0), cosine=1.0) for vector in vectors]
    found = maximize(known, objectives, steps=steps, size=size, seed=seed, callback=callback)
    count = len(found)  # fewer after Ctrl-C: the others stay grey
    cells = np.full((rows * columns, size, size, 3), 128, np.uint8)
    for index in range(count):
        cells[index] = to_pixels(found.images[index])
    return ActivationGrid(
        view=known.view(photo),
        cells=cells.reshape(rows, columns, size, size, 3),
        strength=vectors.norm(dim=1).view(rows, columns).cpu().numpy(),
        source=source,
        network=known.name,
        weights=known.weights,
        layer=name,
        settings={"steps": steps, "size": size, "seed": seed, "channels": channels},
    )


def _maps(model: Model, photo: Picture, layer: str, most: int) -> Tensor:
    """(C, rows, columns)."""
    pixels = torch.tensor(model.input.pixels(photo), device=model.device).permute(2, 0, 1)[None].float() / 255
    network = Stopped(model, [layer], (pixels.shape[-2], pixels.shape[-1]))
    with torch.no_grad():
        maps = network(pixels)[layer].float()
        if max(maps.shape[-2:]) > most:
            maps = F.adaptive_avg_pool2d(maps, (min(maps.shape[-2], most), min(maps.shape[-1], most)))
    return maps[0]
