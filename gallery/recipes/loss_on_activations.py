"""A loss on activations: find the picture that a layer cannot tell from a photo. What differs is what it has let go."""

import torch
from _picture import INPUTS, out, row
from torch.nn import functional as F

import viztool

model = viztool.load_model(size=96)
model.net.requires_grad_(False)
x = model.preprocess(viztool.read_image(INPUTS / "cat.jpg"))


def activations(pixels, layer):
    with viztool.capture(model.net, layer, stop=True) as acts:
        model.net(pixels)
    return acts[layer]  # in the graph: the gradient of a loss on it reaches the pixels


pictures, left = {"the photo": x / 2 + 0.5}, {}
for layer in ("blocks.0", "blocks.2", "blocks.4"):
    wanted = activations(x, layer)
    found = torch.zeros_like(x, requires_grad=True)
    optimizer = torch.optim.Adam([found], lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        loss = F.mse_loss(activations(found, layer), wanted) / wanted.var()
        loss.backward()
        optimizer.step()
    left[layer] = loss.item()
    pictures[f"from {layer}, {100 * left[layer]:.1f} % left"] = found / 2 + 0.5
row(pictures, out())
