"""Small trainings that the tests of the monitor share."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


def small(dropout: float = 0.2) -> nn.Sequential:
    """Convolutions, a BatchNorm, dropout, ReLUs in place."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(32, 5),
    )


def batches(count: int, seed: int = 1, size: int = 16):
    """(x, labels) of five patterns in noise, the same for the same seed; torch's own generator is left alone."""
    own = torch.Generator().manual_seed(seed)
    patterns = torch.randn(5, 3, 8, 8, generator=own)
    for _ in range(count):
        labels = torch.randint(5, (size,), generator=own)
        yield patterns[labels] + 0.5 * torch.randn(size, 3, 8, 8, generator=own), labels


def train(net, optimizer, steps, *, seed=1, record=None, before=None):
    """A plain loop. before(step): called before each step. Returns the losses."""
    losses = []
    for step, (x, labels) in enumerate(batches(steps, seed)):
        if before is not None:
            before(step)
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), labels)
        loss.backward()
        if record is not None:
            record(loss=loss)
        optimizer.step()
        losses.append(loss.item())
    return losses
