"""Run a network that a demo asks its question of."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from viztool.errors import ModelError
from viztool.hooks.naming import unwrap
from viztool.models.model import Model


def answer(model: Model, x: Tensor) -> Any:
    """What the network puts out for a copy of x, (N, C, h, w): it may change in place what it is given.

    Raises ModelError if it does not run on that.
    """
    try:
        return unwrap(model)(x.clone())
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ModelError(f"{model.name} cannot run on an input of the shape {tuple(x.shape)}: {reason}") from error
