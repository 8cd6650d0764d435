"""What a network says of changed copies of one image."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from viztool.errors import ModelError
from viztool.targets.question import Question

Copies = Callable[[Tensor], Tensor]
"""From indices (k,) to these copies, (k, 1, C, ..., H, W); only as many as memory holds are made at once."""


def confidences(question: Question, count: int, copies: Copies) -> Tensor:
    """The probability of the target on `count` changed copies of the image, (count,) float32 on the CPU.

    Raises ModelError if the network's output is not finite.
    """
    return _said(question, question.confidences, count, copies)


def scores(question: Question, count: int, copies: Copies) -> Tensor:
    """The score, as `confidences`."""
    return _said(question, question.scores, count, copies)


def _said(question: Question, ask: Callable[[Tensor], Tensor], count: int, copies: Copies) -> Tensor:
    found = [ask(copies(torch.arange(part.start, part.stop)))[:, 0].cpu() for part in question.chunks(count)]
    said = torch.cat(found) if found else torch.zeros(0)
    if not bool(said.isfinite().all()):
        raise ModelError("the network's output is not finite on copies of the image with pixels taken out")
    return said
