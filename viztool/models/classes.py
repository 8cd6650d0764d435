"""Class names: from a sequence, from a file, or ImageNet's own."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from viztool.errors import ModelError

_WNID = re.compile(r"n\d{8}")


def read_classes(source: Iterable[str] | str | Path) -> tuple[str, ...]:
    """The names in `source`: a sequence of them, or a file.

    The file has one name a line, or is JSON: a list of names, or a dict from index to name (or to a
    list that ends in the name, as ImageNet's index is spread). Raises ModelError if the file cannot
    be read or holds no names.
    """
    if not isinstance(source, (str, Path)):
        names = tuple(str(name) for name in source)
        if not names:
            raise ModelError("classes is empty: give one name for each output of the network")
        return names
    path = Path(source).expanduser()
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ModelError(f"there is no file of class names {source}") from None
    except UnicodeDecodeError:
        raise ModelError(f"{source} is not a text file in UTF-8: write one class name a line") from None
    except OSError as error:
        raise ModelError(f"the class names in {source} cannot be read: {error.strerror}") from error
    lines = _from_json(text, source) if path.suffix.lower() == ".json" else text.splitlines()
    names = tuple(line.strip() for line in lines if line.strip())
    if not names:
        raise ModelError(f"{source} holds no class names: write one a line")
    return names


def imagenet_classes() -> tuple[str, ...]:
    """The 1000 names of ImageNet-1k, as torchvision's weight metadata has them."""
    from torchvision.models import ResNet18_Weights

    return tuple(ResNet18_Weights.DEFAULT.meta["categories"])


def imagenet_index(wnid: str, names: Sequence[str]) -> int | None:
    """The class that WordNet numbers so ("n02123045"), if these are the names of an edition of ImageNet; else None."""
    if not _WNID.fullmatch(wnid):
        return None
    from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset

    edition = infer_imagenet_subset({"num_classes": len(names)})
    if edition is None:
        return None
    known = ImageNetInfo(edition)
    own = imagenet_classes() if edition == "imagenet-1k" else tuple(known.label_descriptions())
    labels: list[str] = known.label_names()  # type: ignore[no-untyped-call]
    return labels.index(wnid) if tuple(names) == own and wnid in labels else None


def _from_json(text: str, source: str | Path) -> list[str]:
    try:
        data = json.loads(text)
    except ValueError as error:
        raise ModelError(f"{source} is not valid JSON: {error}") from None
    if isinstance(data, dict):
        order = [str(index) for index in range(len(data))]
        if set(data) != set(order):
            raise ModelError(f"{source} must map every index from 0 to {len(data) - 1} to a name")
        data = [data[index] for index in order]
    if not isinstance(data, list):
        raise ModelError(f"{source} must hold a JSON list of names, or a dict from index to name")
    return [_last(item) for item in data]


def _last(item: Any) -> str:
    return str(item[-1] if isinstance(item, list) and item else item)
