"""Small networks that between them have what class activation maps stumble over."""

from __future__ import annotations

from collections import OrderedDict

import timm
import torch
import torchvision
from torch import nn


class Pooled(nn.Module):
    """Ends in global average pooling and one linear layer; works in place throughout."""

    def __init__(self, classes=5):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.bn = nn.BatchNorm2d(8)
        self.relu2 = nn.ReLU(inplace=True)
        self.fc = nn.Linear(8, classes)

    def forward(self, x):
        x = self.relu1(self.conv1(x))
        x = self.relu2(self.bn(self.conv2(x)))
        return self.fc(x.mean((2, 3)))


class Odd(nn.Module):
    """One ReLU for three calls, in place, and a dict for output."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1)
        self.conv2 = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.conv3 = nn.Conv2d(8, 8, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        x = self.relu(self.conv3(self.relu(self.conv2(self.relu(self.conv1(x))))))
        return {"features": x.mean((2, 3)), "logits": self.fc(x.mean((2, 3)))}


def shaken(net):
    """With batch norms as after training: fresh ones have no bias and change nothing."""
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.3)
            layer.running_var.uniform_(0.5, 2)
            if not layer.affine:
                continue
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0, 0.3)
    return net


def pooled():
    return shaken(Pooled())


def resnet18():
    return shaken(torchvision.models.resnet18(weights=None, num_classes=10))


def vit():
    return timm.create_model("vit_tiny_patch16_224", img_size=64, depth=2, embed_dim=48, num_heads=3, num_classes=10)


def split(front, tail):
    """A network in two halves, with the layer "front" between them."""
    return nn.Sequential(OrderedDict(front=front, tail=tail))


def smooth():
    """Signed activations, and behind them a tail with second derivatives: no two methods agree."""
    return split(
        nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.Tanh()),
        nn.Sequential(nn.Conv2d(4, 5, 3), nn.Softplus(), nn.Flatten(), nn.Linear(5 * 3 * 2, 7)),
    )


def rectified():
    """Activations without a sign, as most networks have, and a tail of straight pieces."""
    return split(
        nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU()),
        nn.Sequential(nn.Conv2d(4, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 3 * 2, 7)),
    )


def images(count, h, w, channels=3):
    return torch.randn(count, channels, h, w, generator=torch.Generator().manual_seed(1))
