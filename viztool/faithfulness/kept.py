"""Trials in a file: what was found on one photo, until all photos are done."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from viztool.faithfulness.ranking import Trial
from viztool.images import atomic_write


@dataclass(frozen=True)
class Found:
    """On one photo: the trials, why some methods cannot be had, and why the photo could not be looked at, if so."""

    trials: tuple[Trial, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None


def write_found(path: Path, found: Found) -> None:
    """Write it whole or not at all."""
    told = {"trials": [_told(trial) for trial in found.trials], "failed": dict(found.failed), "error": found.error}
    with atomic_write(path) as file:
        file.write(json.dumps(told).encode())
        file.flush()
        os.fsync(file.fileno())


def read_found(path: Path) -> Found:
    """What `write_found` was given, to the last bit."""
    told = json.loads(path.read_text())
    return Found(tuple(_trial(trial) for trial in told["trials"]), told["failed"], told["error"])


def _told(trial: Trial) -> dict[str, Any]:
    curves = {name: [each.tolist() for each in curve] for name, curve in trial.curves.items()}
    return {**vars(trial), "curves": curves}


def _trial(told: dict[str, Any]) -> Trial:
    curves = {
        name: tuple(torch.tensor(each, dtype=torch.float32) for each in curve) for name, curve in told["curves"].items()
    }
    return Trial(**{**told, "layer": tuple(told["layer"]), "curves": curves})
