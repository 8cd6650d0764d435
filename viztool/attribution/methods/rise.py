"""RISE: the mean confidence over random masks that leave a pixel visible."""

from __future__ import annotations

import torch
from torch import Tensor

from viztool.attribution.random_masks import RandomMasks
from viztool.attribution.registry import at_least, method
from viztool.errors import ViztoolError
from viztool.targets.question import Question


@method("rise", "RISE", "Petsiuk et al. 2018", unit="probability", baseline=True, seeded=True)
def rise(
    question: Question, baseline: Tensor, *, samples: int = 1000, grid: int = 7, probability: float = 0.5
) -> Tensor:
    """Σ f(m·x + (1 − m)·b) m / Σ m − mean f over masks m, f the class's probability (its score, if it has none).

    A mask is a grid of cells that are visible with `probability`, made larger bilinearly and shifted at random
    by less than a cell. The mean over all masks is taken off the paper's map, so that 0 says that it does not
    matter whether a pixel is seen; it stands in `.details["mean"]`. The paper takes 4,000 to 8,000 samples;
    `.details["standard_error"]` says what these gave.
    """
    at_least(1, samples=samples, grid=grid)
    if not 0 < probability < 1:
        raise ViztoolError(f"probability is {probability}; give one between 0 and 1")
    x, baseline = question.x.float(), baseline.float()
    size = question.size
    drawn = RandomMasks.draw(samples, grid, probability, question.generator())
    powers = torch.zeros(3, len(x), size[0] * size[1], dtype=torch.float64)  # Σ f m, Σ f m², Σ f² m²
    total = torch.zeros(len(x), dtype=torch.float64)
    counts = torch.zeros(2, size[0] * size[1], dtype=torch.float64)  # Σ m, Σ m²
    for part in question.chunks(samples):
        masks = drawn.made(part, size)
        shown = question.masks(masks)
        f = question.confidences(shown * x + (1 - shown) * baseline).cpu().T
        total += f.sum(1)
        m = masks.flatten(1)
        squared = m * m
        powers += torch.stack([f @ m, f @ squared, (f * f) @ squared])
        counts += torch.stack([m.sum(0), squared.sum(0)])
    visible = counts[0].clamp_min(torch.finfo(torch.float32).tiny)
    mean = powers[0] / visible
    # Of a ratio of sums, to first order: √(Σ m² (f − mean)²) / Σ m.
    error = (powers[2] - 2 * mean * powers[1] + mean**2 * counts[1]).clamp_min(0).sqrt() / visible
    middle = total / samples
    question.details.update(mean=middle.tolist(), standard_error=error.mean(1).tolist())
    question.details["unit"] = question.target.unit
    return (mean - middle[:, None]).view(len(x), *size).float()
