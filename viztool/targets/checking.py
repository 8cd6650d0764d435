"""Whether a network has the classes that are asked for, before there is a photo."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from viztool.errors import TargetError
from viztool.hooks.evaluating import evaluating
from viztool.models.model import Model
from viztool.targets.question import Question
from viztool.targets.resolve import resolve


def check_targets(model: Model, targets: Sequence[int | str]) -> None:
    """Raise TargetError, with the nearest names, for a class that the network does not have.

    Only its output says how many it has, and how they are read: it is shown a black photo.
    """
    if not targets:
        return
    try:
        with evaluating(model.net):
            asked = Question(model, model.preprocess(np.zeros((*model.size, 3), np.uint8)), None)
            for target in targets:
                resolve(target, asked.output, asked.reader.settle, 1)
    except TargetError:
        raise
    except Exception:  # a network that fails on black need not on photos; if it does, they say so
        return
