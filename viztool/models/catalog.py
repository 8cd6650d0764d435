"""The names that can be loaded, read from the sources of torchvision and timm without importing either.

Shell completion and `viztool models` need them in a fraction of the seconds those imports take.
"""

from __future__ import annotations

import difflib
import fnmatch
import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

DEFAULT = "tf_efficientnet_lite0"
TIMM = "timm/"

# torchvision's folders of networks; its quantized and optical-flow networks are not offered
_TASKS = {".": "classification", "segmentation": "segmentation", "detection": "detection", "video": "video"}

# both packages register a builder by a decorator, the first above the function
_BUILDER = re.compile(r"^@register_model(?:\(\))?\s*\n(?:[@ )].*\n)*?def (\w+)\(", re.MULTILINE)


@dataclass(frozen=True)
class Entry:
    """One network that `load_model` can load.

    name: what `load_model` takes. source: "embedded", "torchvision" or "timm". task:
    "classification", "segmentation", "detection" or "video".
    """

    name: str
    source: str
    task: str


@lru_cache(maxsize=1)
def entries() -> dict[str, Entry]:
    """Every entry by name: the embedded network, torchvision's, timm's, each by name."""
    found = [Entry(DEFAULT, "embedded", "classification")]
    for folder, task in _TASKS.items():
        found += [Entry(name, "torchvision", task) for name in sorted(_builders("torchvision", folder))]
    found += [Entry(TIMM + name, "timm", "classification") for name in sorted(_builders("timm", "."))]
    return {entry.name: entry for entry in found}


def list_models(pattern: str | None = None) -> list[Entry]:
    """The entries whose name fits `pattern`: a glob, or without a wildcard a part of the name.

    A glob may leave out the "timm/" in front. None lists all.
    """
    if not pattern:
        return list(entries().values())
    glob = pattern if any(char in pattern for char in "*?[") else f"*{pattern}*"
    return [
        entry
        for entry in entries().values()
        if fnmatch.fnmatchcase(entry.name, glob) or fnmatch.fnmatchcase(entry.name.removeprefix(TIMM), glob)
    ]


def nearest(name: str, count: int = 3) -> list[str]:
    """The names that are most like `name`, best first; the same network of the other source at once."""
    other = name.removeprefix(TIMM) if name.startswith(TIMM) else TIMM + name
    same = [candidate for candidate in (other, other.partition(".")[0]) if candidate in entries()][:1]
    spelled = difflib.get_close_matches(name, entries(), n=count + 1)
    return [*same, *(close for close in spelled if close not in same)][:count]


def _builders(package: str, folder: str) -> Iterator[str]:
    spec = importlib.util.find_spec(package)
    for root in spec.submodule_search_locations or () if spec else ():
        models = Path(root, "models", folder)
        for path in models.glob("*.py"):
            yield from _BUILDER.findall(path.read_text(encoding="utf-8"))
