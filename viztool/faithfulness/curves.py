"""Insertion, deletion and ROAD: what the network says while pixels go or come in the order of a map."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from viztool.faithfulness.copies import confidences
from viztool.faithfulness.imputation import impute
from viztool.results import Part
from viztool.targets.question import Question

ROAD_SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)


@dataclass(frozen=True, eq=False, repr=False)
class Curve(Part):
    """Probabilities of N images' targets along their maps' orders, and along those of random maps.

    shares: (S,) of the pixels that were taken out or put in. values: (N, S). random: (N, D, S).
    """

    shares: Tensor
    values: Tensor
    random: Tensor

    @property
    def auc(self) -> Tensor:
        """(N,) the area under each image's curve, over the range of the shares, by trapezoids."""
        return area(self.shares, self.values)

    @property
    def random_auc(self) -> Tensor:
        """(N, D) the same of the random maps."""
        return area(self.shares, self.random)


def area(shares: Tensor, values: Tensor) -> Tensor:
    """Mean height of a curve: the trapezoids under it, over its width. shares: (S,). values: (..., S)."""
    mean: Tensor = torch.trapezoid(values, shares, dim=-1) / (shares[-1] - shares[0])
    return mean


def step_counts(pixels: int, steps: int) -> Tensor:
    """How many pixels have changed at each step, from none to all: (S,) int64, S = steps + 1 where that many fit."""
    counts: Tensor = torch.linspace(0, pixels, steps + 1, dtype=torch.float64).round().long().unique()
    return counts


def walk(question: Question, places: Tensor, start: Tensor, end: Tensor, counts: Tensor) -> Tensor:
    """The probability on the way from one image to another, pixel by pixel: (M, S).

    places: (M, H, W), each map's order, 0 first. start, end: as the image. counts: (S,) of pixels that are
    already the end's. Deletion goes from the image to a blank, insertion from a blur to the image. Petsiuk et al. 2018
    (RISE).
    """
    inner = counts[1:-1]

    def copies(indices: Tensor) -> Tensor:
        came = places[indices // len(inner)] < inner[indices % len(inner)].view(-1, 1, 1)
        return torch.where(question.masks(came), end, start)

    ends = confidences(question, 2, lambda indices: torch.stack([start, end])[indices.to(start.device)])
    between = confidences(question, len(places) * len(inner), copies).view(len(places), len(inner))
    return torch.cat([ends[:1].expand(len(places), 1), between, ends[1:].expand(len(places), 1)], 1)


def road(question: Question, places: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """The probability with the most, and with the least relevant pixels filled in: each (M, F), at ROAD_SHARES.

    places: (M, H, W). noise: as the image, standard normal. Rong et al. 2022: MoRF and LeRF, without training anew.
    """
    x, (h, w) = question.x, question.size
    counts = (torch.tensor(ROAD_SHARES, dtype=torch.float64) * h * w).round().long()
    both = torch.stack([places, h * w - 1 - places])
    flat = x.reshape(1, -1, h, w)  # frames of a video become channels
    steps = len(counts)

    def copies(indices: Tensor) -> Tensor:
        missing = both.flatten(0, 1)[indices // steps] < counts[indices % steps].view(-1, 1, 1)
        filled = impute(
            flat.expand(len(indices), -1, -1, -1),
            missing[:, None].to(flat.device, torch.float32),
            noise.to(flat.device),
        )
        return filled.view(len(indices), *x.shape)

    most, least = confidences(question, 2 * len(places) * steps, copies).view(2, len(places), steps)
    return most, least
