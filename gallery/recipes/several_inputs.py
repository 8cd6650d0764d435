"""A network of several inputs: hold all but the picture. Here it is asked a question, and the map is of the answer."""

import torch
from _picture import INPUTS, out, row
from torch import nn

import viztool

known = viztool.load_model()
photo = viztool.read_image(INPUTS / "coffee_and_cat.jpg")


class Answering(nn.Module):
    """How much of a question, an embedding of classes, is in the picture: (N, 1)."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, picture, question):
        return (self.net(picture) * question).sum(1, keepdim=True)


pictures = {"the photo": torch.from_numpy(known.view(photo)).permute(2, 0, 1) / 255}
left = {}
for asked in ("espresso", "Egyptian cat"):
    question = nn.functional.one_hot(torch.tensor([known.classes.index(asked)]), len(known.classes)).float()
    held = viztool.models.hold_inputs(Answering(known.net).eval(), question)
    model = viztool.wrap_model(held, size=known.size, mean=known.mean, std=known.std, output="scores")
    heatmap = viztool.class_activation_map(model, photo, "hirescam", target=0)
    half = heatmap.map.shape[2] // 2  # the cup is in the left half, the cat in the right one
    left[asked] = (heatmap.map[..., :half].sum() / heatmap.map.sum()).item()
    pictures[f"{asked}? {100 * left[asked]:.0f} % in the left half"] = heatmap.map[0]
row(pictures, out())
