"""Two checkpoints of one network: layer by layer, how alike are their maps of the same photos? By linear CKA."""

import copy

import matplotlib.pyplot as plt
import torch
from _picture import INPUTS, out
from torch.nn.functional import cross_entropy

import viztool

torch.manual_seed(0)
model = viztool.load_model(size=96)
x = model.preprocess([viztool.read_image(path) for path in sorted(INPUTS.glob("*.jpg"))])
tuned = copy.deepcopy(model.net)  # the second checkpoint: a few steps on wrong labels, from blocks.4 on
tuned.requires_grad_(False)
later = torch.nn.ModuleList([tuned.blocks[4:], tuned.conv_head, tuned.classifier]).requires_grad_(True)
optimizer = torch.optim.SGD(later.parameters(), lr=0.05)
for _ in range(6):
    optimizer.zero_grad()
    cross_entropy(tuned(x), torch.arange(6)).backward()
    optimizer.step()


def places(net):
    """Of each layer (channels, places of all photos), centred."""
    with torch.no_grad(), viztool.capture(net, "blocks.?", reduce=lambda maps: maps.movedim(1, 0).flatten(1)) as acts:
        net(x)
    return {layer: acts[layer] - acts[layer].mean(1, keepdim=True) for layer in acts.layers}


one, other, alike = places(model.net), places(tuned), {}
for layer, a in one.items():
    b = other[layer]
    alike[layer] = ((a @ b.T).norm() ** 2 / (a @ a.T).norm() / (b @ b.T).norm()).item()
plt.figure(figsize=(6, 3), layout="constrained")
plt.plot(alike.keys(), alike.values(), "o-")
plt.ylabel("linear CKA of the two")
plt.savefig(out(), dpi=120)
