"""One file for each family of methods. A new file is found by being here, and its methods come last."""

from __future__ import annotations

import pkgutil
from importlib import import_module

_ORDER = ("gradient", "noise", "integrated_gradients", "guided", "occlusion", "rise", "lrp", "deeplift")

_found = [module.name for module in pkgutil.iter_modules(__path__)]
for _name in sorted(_found, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)):
    import_module(f"{__name__}.{_name}")
