"""Set-up that all tests share."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same random weights and inputs in every run, whichever tests run with this one."""
    torch.manual_seed(0)
