"""What is compared: a function for each, in a file for each room. A new file is found by being here."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from fuzzing.checks.registry import CHECKS

for _module in pkgutil.iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = ["CHECKS"]
