"""Occlusion: what the score loses when a part of the input is covered."""

from __future__ import annotations

import torch
from torch import Tensor

from viztool.attribution.registry import at_least, method
from viztool.targets.question import Question

_WINDOW = 7
"""Windows along a side of the input, by default: 32 pixels of 224."""


@method("occlusion", "Occlusion", "Zeiler and Fergus 2014", unit="score", baseline=True)
def occlusion(question: Question, baseline: Tensor, *, window: int | None = None, stride: int | None = None) -> Tensor:
    """f(x) − f(x with a window set to the baseline): at each pixel the mean over the windows that cover it.

    window: the side of the square, in pixels; by default a seventh of the shorter side. stride: half of it.
    The last windows end at the edges. What no window covers, with a stride that is longer than the window, is 0.
    """
    x = question.x
    h, w = x.shape[-2:]
    side = min(window or max(1, min(h, w) // _WINDOW), h, w) if window is None or window >= 1 else window
    step = max(1, side // 2) if stride is None else stride
    at_least(1, window=side, stride=step)
    corners = [(top, left) for top in _starts(h, side, step) for left in _starts(w, side, step)]
    loss = torch.zeros(len(x), h, w, device=x.device)
    cover = torch.zeros(h, w, device=x.device)
    for part in question.chunks(len(corners)):
        covered = x.expand(part.stop - part.start, *x.shape).clone()
        for image, (top, left) in zip(covered, corners[part], strict=True):
            image[..., top : top + side, left : left + side] = baseline[..., top : top + side, left : left + side]
        for drop, (top, left) in zip(question.score - question.scores(covered), corners[part], strict=True):
            loss[:, top : top + side, left : left + side] += drop[:, None, None]
            cover[top : top + side, left : left + side] += 1
    question.details.update(window=side, stride=step, windows=len(corners))
    return loss / cover.clamp_min(1)


def _starts(length: int, side: int, step: int) -> list[int]:
    return [*range(0, length - side, step), length - side]
