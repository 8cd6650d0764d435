"""Networks for the explorer's tests: one of convolutions of every kind, and a small transformer."""

from __future__ import annotations

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import viztool


class Mixed(nn.Module):
    """Strides, groups, dilation, one-sided padding, a residual sum, and a transposed convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 5, stride=2, padding=2, bias=False), nn.BatchNorm2d(8), nn.ReLU(True))
        self.wide = nn.Sequential(nn.Conv2d(8, 12, 3, padding=(2, 4), dilation=(2, 4), groups=2), nn.BatchNorm2d(12))
        self.down = nn.Conv2d(12, 16, (3, 2), stride=2)
        self.side = nn.Conv2d(12, 16, 1, stride=2)
        self.up = nn.ConvTranspose2d(16, 10, 4, stride=2, padding=1, groups=2)
        self.norm = nn.BatchNorm2d(10)
        self.join = nn.Identity()
        self.head = nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.wide(self.stem(x))
        x = F.leaky_relu(self.down(F.pad(x, (0, 1, 1, 1))) + 0.5 * self.side(x))
        x = F.silu(self.norm(self.up(x)))
        x = self.join(x)
        return self.head(x.mean((2, 3)))


def mixed() -> viztool.Model:
    torch.manual_seed(3)
    net = Mixed().eval()
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean)
            nn.init.uniform_(layer.running_var, 0.5, 2)
            nn.init.normal_(layer.weight)
            nn.init.normal_(layer.bias)
    return viztool.wrap_model(net, size=(48, 64), classes=["ant", "bee", "cat", "dog"], output="softmax")


def transformer() -> viztool.Model:
    torch.manual_seed(4)
    net = timm.create_model(
        "vit_tiny_patch16_224", img_size=96, embed_dim=48, depth=4, num_heads=3, num_classes=5, init_values=0.5
    ).eval()
    return viztool.wrap_model(net, size=(96, 96), classes=list("abcde"), output="softmax")
