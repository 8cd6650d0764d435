"""Small networks for the tests of attributions, and what must not change of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Residual(nn.Module):
    """Convolution, batch norm, in-place ReLUs, a residual sum in place, a max and a mean pool."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(inplace=True))
        self.pool = nn.MaxPool2d(2)
        self.conv1 = nn.Conv2d(6, 6, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(6)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(6, 6, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(6)
        self.fc = nn.Linear(6, 4)
        settle(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.stem(x))
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += x
        return self.fc(self.relu(out).mean((2, 3)))


class Functional(nn.Module):
    """The same kind of network by functions and methods alone, beginning with one in place."""

    def __init__(self, bias: bool = True) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 5, 3, padding=1, bias=bias)
        self.conv2 = nn.Conv2d(5, 6, 3, padding=1, stride=2, bias=bias)
        self.fc = nn.Linear(6, 4, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        x = x.mul_(1.0)
        x = F.relu(self.conv1(x), inplace=True)
        x = F.max_pool2d(x, 2)
        x = self.conv2(x).clamp(min=0)
        x = F.adaptive_avg_pool2d(x, 1).flatten(1)
        return self.fc(x.relu_())


def conv_net(bias: bool = True) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1, bias=bias),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(5, 6, 3, padding=1, bias=bias),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(6 * 9, 4, bias=bias),
    )


class Gated(nn.Module):
    """SiLU and a squeeze-and-excitation gate: no ReLU at all but the gate's."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.squeeze = nn.Conv2d(6, 3, 1)
        self.excite = nn.Conv2d(3, 6, 1)
        self.fc = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self.conv(x))
        gate = torch.sigmoid(self.excite(F.relu(self.squeeze(x.mean((2, 3), keepdim=True)))))
        return self.fc((x * gate).mean((2, 3)))


class Tokens(nn.Module):
    """Patches, attention and GELU: a Vision Transformer of one block."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 8, 4, stride=4)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, activation="gelu", batch_first=True)
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.block(self.patch(x).flatten(2).transpose(1, 2)).mean(1))


def settle(net: nn.Module) -> None:
    """Batch norms that do something: statistics, and weights of both signs."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.normal_(module.weight, 1.0, 0.3)
            with torch.no_grad():
                module.weight[0].neg_()
            nn.init.normal_(module.bias, 0.0, 0.3)
            module.running_mean.normal_(0.0, 0.3)
            module.running_var.uniform_(0.5, 2.0)


def state_of(net: nn.Module) -> list[Any]:
    """All that an attribution must leave as it was, in a form that compares."""
    return [
        [(name, tensor.clone()) for name, tensor in net.state_dict().items()],
        [(name, parameter.requires_grad, parameter.grad) for name, parameter in net.named_parameters()],
        [(name, module.training, "forward" in vars(module)) for name, module in net.named_modules()],
        [(len(module._forward_hooks), len(module._forward_pre_hooks)) for module in net.modules()],
        [(len(module._backward_hooks), len(module._backward_pre_hooks)) for module in net.modules()],
    ]


def same_state(before: list[Any], after: list[Any]) -> bool:
    tensors = zip(before[0], after[0], strict=True)
    if not all(name == other and torch.equal(one, two) for (name, one), (other, two) in tensors):
        return False
    flags = zip(before[1], after[1], strict=True)
    if not all(one[:2] == two[:2] and one[2] is two[2] for one, two in flags):
        return False
    return bool(before[2:] == after[2:])
