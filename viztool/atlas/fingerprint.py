"""What an atlas was made with, told apart: two with the same fingerprint have the same tables for the same photos."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def digest_of(told: Mapping[str, Any]) -> str:
    """A short name of a fingerprint."""
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs, a line each: "keep: 16, now 8"."""
    lines = []
    for key in {**old, **new}:
        before, now = old.get(key), new.get(key)
        if before == now:
            continue
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            lines += [f"{key}: {line}" for line in differences(before, now)]
        else:
            lines.append(f"{key}: {_apart(before, now)}, now {_apart(now, before)}")
    return lines


def _apart(value: object, other: object) -> str:
    """Of a text of several parts those that the other one does not have; of a digest its beginning."""
    text = "none" if value is None else str(value)
    parts = [part for part in text.split(", ") if part not in str(other).split(", ")]
    return " and ".join(part if " " in part or len(part) <= 40 else part[:12] + "…" for part in parts) or text
