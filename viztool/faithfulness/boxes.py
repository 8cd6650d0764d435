"""Does a heatmap lie where the object is? The pointing game, and the energy inside a box."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from viztool.faithfulness.errors import HeatmapError
from viztool.faithfulness.score import Score
from viztool.heatmaps.heatmap import Heatmap
from viztool.models.subject import Subject

Boxes: TypeAlias = Sequence[Sequence[float] | Sequence[Sequence[float]] | Tensor] | Tensor
"""For each image one box (left, top, right, bottom), or several: in pixels of the photo, or of the tensor given."""


def pointing_game(heatmap: Heatmap, boxes: Boxes) -> Score:
    """Whether the place that speaks most for the target lies in a box: 1 or 0 for each image. Zhang et al. 2018.

    Where several places share the maximum, the share of them in the box, so that a flat map gets what a random one
    would: the boxes' share of the area, which stands beside each number. Raises HeatmapError for wrong boxes.
    """
    maps = heatmap.map
    highest = (maps == maps.amax((1, 2), keepdim=True)).float()
    return _inside(heatmap, highest, boxes)


def energy_in_box(heatmap: Heatmap, boxes: Boxes) -> Score:
    """The share of what speaks for the target that lies in a box, 0 to 1 for each image. Wang et al. 2020 (Score-CAM).

    Beside each number stands the boxes' share of the area, which a random map would have on average, and which a map
    with nothing that speaks for the target is given. Raises HeatmapError for wrong boxes.
    """
    evidence = heatmap.map
    none = evidence.sum((1, 2), keepdim=True) == 0
    return _inside(heatmap, torch.where(none, 1.0, evidence), boxes)


def in_view(box: Sequence[float], subject: Subject) -> tuple[float, float, float, float]:
    """A box in pixels of the photo as shares of what the network was given of it, cut off at its border."""
    left, top, right, bottom = box
    h, w = subject.view.shape[:2]
    above, before, below, behind = subject.seen or (0.0, 0.0, float(h), float(w))
    across = ((side - before) / (behind - before) for side in (left, right))
    down = ((side - above) / (below - above) for side in (top, bottom))
    (x0, x1), (y0, y1) = ((min(max(share, 0.0), 1.0) for share in shares) for shares in (across, down))
    return x0, y0, x1, y1


def _inside(heatmap: Heatmap, weights: Tensor, boxes: Boxes) -> Score:
    """The share of the weights, (N, H, W), that lies in the boxes, beside that of the area."""
    if len(boxes) != len(heatmap):
        raise HeatmapError(
            f"boxes for {len(boxes)} images, and the heatmap is of {len(heatmap)}; give one entry for each"
        )
    masks = torch.stack(
        [_mask(boxes[index], index, subject) for index, subject in enumerate(heatmap.subjects)]
    ).double()
    value = (weights * masks).sum((1, 2)) / weights.double().sum((1, 2))
    return Score(value.float(), masks.mean((1, 2)).float()[:, None], higher_is_better=True)


def _mask(boxes: Sequence[float] | Sequence[Sequence[float]] | Tensor, index: int, subject: Subject) -> Tensor:
    """(H, W) bool: the pixels of what the network was given whose centres lie in one of the boxes."""
    try:
        corners = torch.as_tensor(boxes, dtype=torch.float64).reshape(-1, 4)
    except (TypeError, ValueError, RuntimeError):
        raise HeatmapError(f"boxes[{index}] is not (left, top, right, bottom), nor a list of those") from None
    h, w = subject.view.shape[:2]
    top, left, bottom, right = subject.seen or (0.0, 0.0, float(h), float(w))
    down = top + (torch.arange(h, dtype=torch.float64) + 0.5) * (bottom - top) / h
    across = left + (torch.arange(w, dtype=torch.float64) + 0.5) * (right - left) / w
    mask = torch.zeros(h, w, dtype=torch.bool)
    for x0, y0, x1, y1 in corners.tolist():
        if not (x0 < x1 and y0 < y1):
            raise HeatmapError(
                f"boxes[{index}] has ({x0:g}, {y0:g}, {x1:g}, {y1:g}): not left < right and top < bottom"
            )
        mask |= ((down > y0) & (down < y1))[:, None] & ((across > x0) & (across < x1))
    if not bool(mask.any()):
        raise HeatmapError(f"boxes[{index}] lies outside what the network was given of {subject.source}")
    return mask
