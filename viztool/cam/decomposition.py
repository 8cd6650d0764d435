"""The first component of maps: positions are the samples, channels the dimensions."""

from __future__ import annotations

import torch
from torch import Tensor


def first_component(maps: Tensor) -> Tensor:
    """O v₁ = σ₁ u₁ of each image, (N, h, w); O = U Σ Vᵀ are its maps, (N, C, h, w), as positions × channels.

    From the eigenvectors of O Oᵀ or Oᵀ O, whichever is smaller. A component has no sign of its own: it
    gets the one by which it agrees with the sum over channels.
    """
    samples = maps.flatten(2).mT
    positions, channels = samples.shape[1:]
    if positions <= channels:
        component = leading(samples @ samples.mT)
    else:
        _, vectors = torch.linalg.eigh(samples.mT @ samples)
        component = (samples @ vectors[:, :, -1:])[:, :, 0]
    return oriented(component.unflatten(1, maps.shape[2:]), maps)


def leading(gram: Tensor) -> Tensor:
    """√λ₁ u₁ of symmetric matrices (N, m, m), for their largest eigenvalue λ₁: (N, m)."""
    values, vectors = torch.linalg.eigh(gram)
    component: Tensor = vectors[:, :, -1] * values[:, -1:].clamp_min(0).sqrt()
    return component


def oriented(component: Tensor, maps: Tensor) -> Tensor:
    """The component (N, h, w), or its negative, whichever agrees with the sum of the maps (N, C, h, w)."""
    agreement = (component * maps.sum(1)).sum((1, 2), keepdim=True)
    return torch.where(agreement < 0, -component, component)
