"""Finished pictures of a run that may be interrupted, in a folder beside what it will write."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from viztool.images import atomic_write
from viztool.kernels.ascent import Optima


class FolderStore:
    """Parts of a run in `folder`; see `viztool.kernels.task.Store`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._identity: dict[str, Any] = {}

    def open(self, identity: Mapping[str, Any]) -> None:
        """Throw away what is there of a run of another identity, ready for JSON."""
        self._identity = json.loads(json.dumps(identity))
        if not self._is_of_this_run():
            shutil.rmtree(self.folder, ignore_errors=True)

    def load(self, part: int) -> Optima | None:
        """The optima of this part, or None if they are not there whole."""
        path = self._path(part)
        if not path.exists():
            return None
        with np.load(path, allow_pickle=False) as found:
            return Optima(
                torch.from_numpy(found["images"]),
                torch.from_numpy(found["alpha"]),
                torch.from_numpy(found["score"]),
                tuple(found["steps"].tolist()),
                tuple(found["status"].tolist()),
            )

    def save(self, part: int, optima: Optima) -> None:
        """Write them, whole or not at all."""
        if not self._is_of_this_run():
            with atomic_write(self.folder / "run.json") as file:
                file.write(json.dumps(self._identity).encode())
        with atomic_write(self._path(part)) as file:
            np.savez(
                file,
                images=optima.images.numpy(),
                alpha=optima.alpha.numpy(),
                score=optima.score.numpy(),
                steps=np.array(optima.steps),
                status=np.array(optima.status),
            )

    def _path(self, part: int) -> Path:
        return self.folder / f"{part:05d}.npz"

    def _is_of_this_run(self) -> bool:
        try:
            found = json.loads((self.folder / "run.json").read_text())
        except (OSError, ValueError):
            return False
        return bool(found == self._identity)
