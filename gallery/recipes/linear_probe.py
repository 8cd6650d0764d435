"""Features for a linear probe: how well does each layer tell six photos apart, seen through small windows?"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from _picture import INPUTS, out
from torch import nn

import viztool

rng = np.random.default_rng(0)
model = viztool.load_model(size=64)
windows, labels = [], []
for label, path in enumerate(sorted(INPUTS.glob("*.jpg"))):
    photo = viztool.read_image(path)
    for _ in range(24):
        top, left = (rng.integers(0, side - 80) for side in photo.shape[:2])
        windows.append(photo[top : top + 80, left : left + 80])
        labels.append(label)
labels = torch.tensor(labels)
train, test = torch.from_numpy(rng.permutation(len(labels))).chunk(2)

accuracy = {}
with torch.no_grad(), viztool.capture(model.net, "blocks.?", reduce=lambda maps: maps.mean((2, 3))) as acts:
    model.net(model.preprocess(windows))
for layer in acts.layers:
    features = nn.functional.normalize(acts[layer] - acts[layer][train].mean(0))
    probe = nn.Linear(features.shape[1], 6)
    optimizer = torch.optim.Adam(probe.parameters(), lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        nn.functional.cross_entropy(probe(features[train]), labels[train]).backward()
        optimizer.step()
    accuracy[layer] = (probe(features[test]).argmax(1) == labels[test]).float().mean().item()
plt.figure(figsize=(6, 3), layout="constrained")
plt.bar(accuracy.keys(), accuracy.values())
plt.ylabel("windows told right (dots: chance)")
plt.axhline(1 / 6, color="black", linestyle=":")
plt.savefig(out(), dpi=120)
