"""In which order a map says that pixels matter, and random maps that are as coarse as the one they stand beside."""

from __future__ import annotations

import torch
from torch import Tensor


def ranks(maps: Tensor, generator: torch.Generator) -> Tensor:
    """The place of each pixel in its map's order, 0 for the one that speaks most for the target.

    maps: (M, H, W), any scale. Returns (M, H, W) int32. Equal values are put in an order of the generator's, anew for
    each map, so that a map without any differences is a random order.
    """
    flat = maps.flatten(1)
    places = torch.empty(flat.shape, dtype=torch.int32)
    for index, values in enumerate(flat):
        shuffled = torch.randperm(len(values), generator=generator)
        order = shuffled[values[shuffled].argsort(descending=True, stable=True)]
        places[index, order] = torch.arange(len(values), dtype=torch.int32)
    return places.view(maps.shape)


def random_maps(raw: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Random maps with the very values of this one, and as coarse: only where they lie is left to chance.

    raw: (h, w). Returns (count, h, w). Phases of white noise are put to the map's own amplitude spectrum, and its
    values are handed out by the ranks of what comes out (Theiler et al. 1992, amplitude-adjusted surrogates).

    Coarseness must be equal, because it alone decides much: pixels that are taken out one by one at random break a
    network far sooner than the same number in a few patches. On ImageNet photos with EfficientNet-Lite0 such noise
    had a deletion AUC of 0.21, Grad-CAM one of 0.25, and random maps as coarse as Grad-CAM's one of 0.48.
    """
    noise = torch.fft.fft2(torch.randn(count, *raw.shape, generator=generator))
    phases = noise / noise.abs().clamp_min(torch.finfo(torch.float32).tiny)
    surrogates = torch.fft.ifft2(torch.fft.fft2(raw.float()).abs() * phases).real
    order = surrogates.flatten(1).argsort(dim=1)
    values = raw.flatten().sort().values.expand(count, -1)
    return torch.empty_like(values).scatter(1, order, values).view(count, *raw.shape)
