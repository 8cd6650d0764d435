"""A picture without its details."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def gaussian_blur(x: Tensor, share: float) -> Tensor:
    """Gaussian blur over the last two dimensions of (..., H, W); what is beyond the edge is as the edge.

    share: the standard deviation, of the shorter side.
    """
    h, w = x.shape[-2:]
    sigma = share * min(h, w)
    reach = math.ceil(3 * sigma)
    offsets = torch.arange(-reach, reach + 1, device=x.device, dtype=torch.float32)
    kernel = torch.softmax(-(offsets**2) / (2 * sigma**2), 0)
    planes = x.reshape(-1, 1, h, w).float()
    planes = F.conv2d(F.pad(planes, (0, 0, reach, reach), mode="replicate"), kernel.view(1, 1, -1, 1))
    planes = F.conv2d(F.pad(planes, (reach, reach, 0, 0), mode="replicate"), kernel.view(1, 1, 1, -1))
    return planes.view(x.shape).to(x.dtype)
