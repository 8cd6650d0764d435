"""A detector's backbone: the maps that its heads look at. It takes lists and gives boxes; capture does not mind."""

import torch
import torchvision
from _picture import INPUTS, out, row

import viztool

torch.manual_seed(0)
# With weights="DEFAULT" it is a trained one; random weights need no download.
net = torchvision.models.detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None).eval()
view = viztool.load_model(size=320).view(viztool.read_image(INPUTS / "coffee_and_cat.jpg"))
photo = torch.from_numpy(view).permute(2, 0, 1) / 255

with torch.no_grad(), viztool.capture(net, "backbone", stop=True) as acts:
    net([photo])  # what the backbone gives is a dict: one tensor for each scale
scales = acts["backbone"]
with torch.no_grad(), viztool.capture(net, "head.classification_head", stop=True) as acts:
    net([photo])
boxes = acts["head.classification_head"].shape[1]

pictures = {"the photo": photo}
for name, maps in list(scales.items())[:4]:
    pictures[f"scale {name}: {' × '.join(map(str, maps.shape[1:]))}"] = maps[0].std(0)
row(pictures, out())
