"""What every unit of a network does over a whole data set: exact, and the same from one process or a cluster.

The names are imported when they are first used: an atlas is read without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from viztool.atlas.atlas import Atlas, open_atlas
    from viztool.atlas.build import Progress, build_atlas

__all__ = ["Atlas", "Progress", "build_atlas", "open_atlas"]

_HOMES = {"Atlas": "atlas", "Progress": "build", "build_atlas": "build", "open_atlas": "atlas"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
