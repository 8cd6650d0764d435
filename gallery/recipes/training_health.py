"""What goes wrong in a training: five faults, one after another, in a net that tells windows of photos apart."""

import matplotlib.pyplot as plt
import numpy as np
import torch
from _picture import INPUTS, out
from torch import nn

import viztool

photos = [viztool.read_image(path) for path in sorted(INPUTS.glob("*.jpg"))]


def batch(rng, size=32, side=24):
    labels = rng.integers(len(photos), size=size)
    places = [[rng.integers(edge - side) for edge in photos[label].shape[:2]] for label in labels]
    windows = [photos[label][y : y + side, x : x + side] for label, (y, x) in zip(labels, places, strict=True)]
    return (torch.from_numpy(np.stack(windows)).permute(0, 3, 1, 2).float() - 110) / 60, torch.from_numpy(labels)


found, sheets = {}, []
for fault in ("dead-units", "not-finite", "update-too-large", "never-updated", "input-not-normalised"):
    rng, _ = np.random.default_rng(0), torch.manual_seed(0)
    convs = [nn.Conv2d(width, 16, 3, stride=2, padding=1) for width in (3, 16, 16)]
    net = nn.Sequential(*[layer for conv in convs for layer in (conv, nn.ReLU())], nn.Flatten(), nn.Linear(144, 6))
    groups = [{"params": [*net[:4].parameters(), *net[7].parameters()]}, {"params": net[4].parameters()}]
    optimizer = torch.optim.Adam(groups[:1] if fault == "never-updated" else groups, 2e-3)
    with viztool.monitor(net, optimizer, every=5, quiet=True) as health:
        for step in range(100):
            x, labels = batch(rng)
            if step == 50 and fault == "update-too-large":
                optimizer.param_groups[1]["lr"] = 0.5
            elif step == 50 and fault in ("dead-units", "not-finite"):
                nn.init.constant_(net[2].bias, -50 if fault == "dead-units" else torch.nan)
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(60 * x + 110 if fault == "input-not-normalised" else x), labels).backward()
            optimizer.step()
    found[fault] = {(finding.kind, finding.layer) for finding in health.findings}
    sheets.append(health.picture()[105 : 341 + 79 * len(health.findings)])
plt.imsave(out(), np.concatenate(sheets))
