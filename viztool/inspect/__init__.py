"""Look at a network without a photo: its layers, what they cost, and what their units see.

The names are imported when they are first used: `viztool.inspect.lattice` is read where there is no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from viztool.inspect.measure import layer_table
    from viztool.inspect.receptive_field import ReceptiveField
    from viztool.inspect.table import LayerRow, LayerTable
    from viztool.inspect.trace import FieldTracer, receptive_fields

__all__ = ["FieldTracer", "LayerRow", "LayerTable", "ReceptiveField", "layer_table", "receptive_fields"]

_HOMES = {
    "FieldTracer": "trace",
    "LayerRow": "table",
    "LayerTable": "table",
    "ReceptiveField": "receptive_field",
    "layer_table": "measure",
    "receptive_fields": "trace",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
