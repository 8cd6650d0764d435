"""A network's health while it trains: `viztool.monitor(net, optimizer)` is this room, called.

Samples of a few steps are measured on the device; rules turn them into findings, each with the layer, the step and the
number that proves it. The loop stays as it is, and so does everything in it, bit for bit.

What it does not see: dead units of an activation that is a function (F.relu), for only modules are watched; a collapse
of fewer than 8 units, of one image at a time, and of the last layer, and of small batches only after some samples (5 of
batches of 8, 22 of batches of 2); a layer that learns more than a thousandth as fast as the others, though it is meant
to learn as fast; attention as a mask leaves it; on a GPU, the layer of a NaN that came between two samples. A squeeze
layer of a few units (8 in MobileNetV3's first block) may have more than half of them dead by chance from the first step
on: that is told, and so it is.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from viztool.monitor.adapters import LightningMonitor, to_tensorboard
    from viztool.monitor.findings import Finding
    from viztool.monitor.health import Health, monitor
    from viztool.monitor.report import Report, read_log
    from viztool.monitor.rules import RULES, Rule

_HOMES = {
    "Finding": "viztool.monitor.findings",
    "Health": "viztool.monitor.health",
    "LightningMonitor": "viztool.monitor.adapters",
    "RULES": "viztool.monitor.rules",
    "Report": "viztool.monitor.report",
    "Rule": "viztool.monitor.rules",
    "monitor": "viztool.monitor.health",
    "read_log": "viztool.monitor.report",
    "to_tensorboard": "viztool.monitor.adapters",
}

__all__ = [
    "RULES",
    "Finding",
    "Health",
    "LightningMonitor",
    "Report",
    "Rule",
    "monitor",
    "read_log",
    "to_tensorboard",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'viztool.monitor' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


class _Room(ModuleType):
    """The room is called by the name of its one verb; whichever is imported first, both are there."""

    def __call__(self, *args: Any, **kwargs: Any) -> Health:
        """See `viztool.monitor.monitor`."""
        return import_module("viztool.monitor.health").monitor(*args, **kwargs)  # type: ignore[no-any-return]


sys.modules[__name__].__class__ = _Room
