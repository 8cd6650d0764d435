"""Set-up that all tests share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from viztool.images import write_image

SMALL_NETWORK = """
import torch
from torch import nn


def build():
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)
    )
"""


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same random weights and inputs in every run, whichever tests run with this one."""
    torch.manual_seed(0)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where one works: photo.png, and nets.py:build, a network of one convolution and four classes."""
    monkeypatch.chdir(tmp_path)
    write_image("photo.png", np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8))
    Path("nets.py").write_text(SMALL_NETWORK)
    return tmp_path
