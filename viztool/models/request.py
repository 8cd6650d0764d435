"""What may be asked of `load_model`, and the checks that every source shares."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from types import EllipsisType

import torch

from viztool.errors import ModelError, SettingError
from viztool.models.checkpoint import SUFFIXES

# the source's own weights (..., the default), random ones (None), a name among the source's weights, or a file
Weights = str | Path | EllipsisType | None
DEFAULT_WEIGHTS = "DEFAULT"


def is_default(weights: Weights) -> bool:
    """Whether the source's own weights are meant."""
    return weights is ... or weights == DEFAULT_WEIGHTS


def is_file(weights: Weights, names: Collection[str] = ()) -> bool:
    """Whether `weights` means a file: a path, and not one of the source's `names` for weights."""
    if weights is None or is_default(weights) or weights in names:
        return False
    if isinstance(weights, Path):
        return True
    text = str(weights)
    return Path(text).suffix.lower() in SUFFIXES or "/" in text or "\\" in text or Path(text).is_file()


def require_class_count(name: str, weights: str, classes: tuple[str, ...] | None, outputs: int) -> None:
    """Raise ModelError if there are not as many class names as these weights have outputs."""
    if classes is not None and len(classes) != outputs:
        raise ModelError(
            f"{len(classes)} class names were given, and {name} with the weights {weights} has {outputs} outputs: "
            f"give the weights of a network with {len(classes)} (--weights FILE), or leave the names out"
        )


def find_device(device: str | torch.device) -> torch.device:
    """The device by its name; "auto" is CUDA, else Apple's MPS, else the CPU. ModelError if it is not there."""
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError:
        raise SettingError(f"unknown device {str(device)!r}: use auto, cpu, cuda or mps") from None
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise ModelError(f"the device {found} is not available: torch sees {torch.cuda.device_count()} CUDA devices")
    if found.type == "mps" and not torch.backends.mps.is_available():
        raise ModelError("the device mps is not available on this machine: use auto or cpu")
    return found
