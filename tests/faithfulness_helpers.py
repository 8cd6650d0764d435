"""Networks whose truth is known, and heatmaps made by hand."""

import numpy as np
import torch
from torch import nn

from viztool.heatmaps.heatmap import Heatmap
from viztool.models.subject import looks_at


class Additive(nn.Module):
    """The probability of class 0 is Σ weight · x, that of class 1 the rest: every pixel counts by itself.

    weight: (C, H, W), not negative, with a sum of at most 1, for inputs in [0, 1].
    """

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.images = 0

    def forward(self, x):
        self.images += len(x)
        p = (x * self.weight).sum((1, 2, 3))
        return torch.stack([p, 1 - p], 1)


class SmallNet(nn.Module):
    """Convolutions, a norm, an in-place ReLU and a linear head."""

    def __init__(self, classes=5):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.block = nn.Sequential(nn.Conv2d(8, 12, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(12, 12, 3, padding=1))
        self.head = nn.Linear(12, classes)

    def forward(self, x):
        return self.head(self.block(self.relu(self.norm(self.stem(x)))).mean((2, 3)))


def additive(c, h, w, seed=0):
    """An additive network with an input (1, C, H, W) in [0, 1], and what each pixel adds: (H, W)."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.rand(c, h, w, generator=generator)
    weight = weight / weight.sum() * 0.9
    x = torch.rand(1, c, h, w, generator=generator)
    return Additive(weight), x, (weight * x[0]).sum(0).detach()


def heatmap_of(model, photo, raw, classes=0, *, signed=True, method="by hand", **rest):
    """A heatmap with these raw values, (h, w) or (N, h, w), of class `classes`, or of one class for each image."""
    looks, _ = looks_at(model, photo, "photo.png")
    subjects = tuple(subject for _, several in looks for subject in several)
    raw = raw[None] if raw.dim() == 2 else raw
    labels = (classes,) * len(subjects) if isinstance(classes, int) or classes is None else tuple(classes)
    return Heatmap(
        method=method,
        raw=raw.detach().float(),
        target=tuple(f"class {label}" for label in labels),
        classes=None if classes is None else labels,
        score=torch.zeros(len(subjects)),
        layer=(),
        signed=signed,
        subjects=subjects,
        **rest,
    )


def photos(count, size=16, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (size, size, 3), np.uint8) for _ in range(count)]


def harmonic_by_hand(x, missing):
    """An image (C, H, W) with its missing pixels solved for, by one dense system."""
    _, h, w = x.shape
    matrix = torch.zeros(h * w, h * w, dtype=torch.float64)
    right = torch.zeros(h * w, len(x), dtype=torch.float64)
    for i in range(h):
        for j in range(w):
            row = i * w + j
            if not missing[i, j]:
                matrix[row, row] = 1
                right[row] = x[:, i, j]
                continue
            for di in (-1, 0, 1):
                for dj in (-1, 0, 1):
                    if (di or dj) and 0 <= i + di < h and 0 <= j + dj < w:
                        weight = 1 / 12 if di and dj else 1 / 6
                        matrix[row, row] += weight
                        matrix[row, (i + di) * w + j + dj] -= weight
    return torch.linalg.solve(matrix, right).T.reshape(x.shape)
