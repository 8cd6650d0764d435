"""Video: maps with a time axis. A window moves over a photo; do the maps of a layer move with it?"""

import torch
import torchvision
from _picture import INPUTS, out, row

import viztool

torch.manual_seed(0)
# With weights="DEFAULT" it is a trained one; random weights need no download, and they follow what moves, too.
net = torchvision.models.video.r3d_18(weights=None).eval()
view = viztool.load_model(size=96).view(viztool.read_image(INPUTS / "cat.jpg"))
photo = torch.from_numpy(view).permute(2, 0, 1) / 255
clip = torch.full((3, 8, 96, 96), 0.5)
lefts = range(0, 64, 8)
for time, left in enumerate(lefts):  # a window of the photo that moves to the right
    clip[:, time, 32:64, left : left + 32] = photo[:, 32:64, 32:64]

with torch.no_grad(), viztool.capture(net, "layer1", stop=True) as acts:
    net((torch.stack([clip, torch.full_like(clip, 0.5)]) - 0.45) / 0.225)
maps, empty = acts["layer1"]  # (C, T, h, w) each: of the clip, and of one in which nothing is
energy = (maps - empty).abs().mean(0).square()  # (T, h, w)
across = torch.arange(energy.shape[2]) + 0.5
centres = (energy.sum(1) * across).sum(1) / energy.sum((1, 2)) * 96 / energy.shape[2]
follows = torch.corrcoef(torch.stack([centres, torch.tensor(lefts) + 16.0]))[0, 1].item()

pictures = {}
for time in (0, 3, 7):
    pictures[f"frame {time}"] = clip[:, time]
    pictures[f"layer1, centre at x = {centres[time]:.0f}"] = energy[time]
row(pictures, out())
