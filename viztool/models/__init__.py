"""Networks and what goes with them: weights, preprocessing, class names.

The names are imported when they are first used: `viztool.models.catalog` must not bring torch with it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from viztool.models.catalog import list_models
    from viztool.models.load import load_model
    from viztool.models.model import Model, wrap_model
    from viztool.models.several_inputs import hold_inputs

__all__ = ["Model", "hold_inputs", "list_models", "load_model", "wrap_model"]

_HOMES = {
    "Model": "model",
    "hold_inputs": "several_inputs",
    "list_models": "catalog",
    "load_model": "load",
    "wrap_model": "model",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
