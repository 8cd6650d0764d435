"""A heatmap of an embedding's similarity: where is what makes two photos alike? No class is asked for."""

import torch
from _picture import INPUTS, out, row
from torch import nn

import viztool

known = viztool.load_model()


class Embedding(nn.Module):
    """The network without its classifier: (N, 1280)."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net.forward_head(self.net.forward_features(x), pre_logits=True)


net = Embedding(known.net).eval()
model = viztool.wrap_model(net, size=known.size, mean=known.mean, std=known.std, output="none")
both = viztool.read_image(INPUTS / "coffee_and_cat.jpg")
pictures = {"both": torch.from_numpy(known.view(both)).permute(2, 0, 1) / 255}
left = {}
for name in ("coffee", "cat"):
    reference = viztool.read_image(INPUTS / f"{name}.jpg")
    with torch.no_grad():
        target = viztool.targets.similarity(net(model.preprocess(reference)))
    heatmap = viztool.class_activation_map(model, both, "hirescam", target=target)
    left[name] = (heatmap.map[..., : known.size[1] // 2].sum() / heatmap.map.sum()).item()
    pictures[name] = torch.from_numpy(known.view(reference)).permute(2, 0, 1) / 255
    pictures[f"alike, cosine {heatmap.score[0]:.2f}"] = heatmap.map[0]
row(pictures, out())
