"""Average drop and increase: what is left of the network's confidence where it sees only what the map shows."""

from __future__ import annotations

from torch import Tensor

from viztool.faithfulness.copies import confidences
from viztool.targets.question import Question


def confidence(question: Question, evidence: Tensor) -> Tensor:
    """The probability where the image is faded to blank as far as the map is low: (M,).

    evidence: (M, H, W) in [0, 1]. E = map ∘ image, the explanation map of Chattopadhyay et al. 2018
    (Grad-CAM++), of the normalised image, so that nothing is the mean colour.
    """
    x = question.x
    return confidences(question, len(evidence), lambda indices: question.masks(evidence[indices]).to(x.dtype) * x)


def average_drop(before: Tensor, after: Tensor) -> Tensor:
    """The share of the confidence that is lost: max(0, before − after) / before, whose mean is Average Drop.

    NaN where it was not positive, which a score of one's own may be. Chattopadhyay et al. 2018.
    """
    return ((before - after).clamp_min(0) / before).where(before > 0, float("nan"))


def increase(before: Tensor, after: Tensor) -> Tensor:
    """1 where the confidence grew, else 0, whose mean is Increase in Confidence. Chattopadhyay et al. 2018."""
    return (after > before).float()
