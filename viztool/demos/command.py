"""The command that draws a demo again, for the foot of its sheet."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def command_of(
    name: str, photos: Sequence[str], options: Mapping[str, Any], seed: int = 0, network: Sequence[str] = ()
) -> str:
    """As one types it. photos: what they are called. options: the demo's own. network: the words that name one."""
    words = ["viztool", "demo", name, *photos]
    for option, value in options.items():
        if value is True:
            words.append(f"--{option}")
        elif value is not None and value is not False:
            words += [f"--{option}", value if isinstance(value, str) else _rows(value)]
    words += network
    if seed:
        words += ["--seed", str(seed)]
    return shlex.join(words)


def _rows(value: Any) -> str:
    """A number, or a kernel as the command line takes it."""
    return "; ".join(" ".join(f"{number:g}" for number in row) for row in np.atleast_2d(value))
