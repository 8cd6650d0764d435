"""What an atlas was made with: two with the same fingerprint have the same tables for the same photos."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import PIL
import pyarrow as pa
import torch
from torch import nn

import viztool
from viztool.atlas import bins
from viztool.atlas.ranges import BATCH
from viztool.hooks.naming import unwrap
from viztool.models.model import Model


def fingerprint(
    model: Model, layers: Mapping[str, int], keep: int, *, half: bool, relevance: bool = False, batch: int = BATCH
) -> dict[str, Any]:
    """Ready for JSON, by what a person would look for a difference in."""
    net = unwrap(model.net)
    return {
        "network": f"{model.name} ({type(net).__name__})",
        "weights": weights_digest(net),
        "layers": dict(layers),
        "preprocessing": model.preprocessing,
        "keep": keep,
        **({"relevance": "lrp_zplus of the predicted class"} if relevance else {}),
        "precision": precision(model.dtype, half=half),
        "device": model.device.type,
        "batch": batch,
        "bins": bins.COUNT,
        "versions": {
            "viztool": viztool.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "pillow": PIL.__version__,
            "pyarrow": pa.__version__,
        },
    }


def precision(dtype: torch.dtype, *, half: bool) -> str:
    """What it computes in. half: bfloat16 where the network allows it."""
    return str(dtype).removeprefix("torch.") + (" as bfloat16" if half else "")


def weights_digest(net: nn.Module) -> str:
    """sha256 of the names and values of all parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in net.state_dict().items():
        if isinstance(tensor, torch.Tensor):
            value = tensor.detach().cpu().contiguous()
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
