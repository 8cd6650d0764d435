"""All of a network that a look must leave as it was."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def state_of(net: nn.Module) -> dict[str, Any]:
    """Values, modes, gradients, hooks, attributes, by what they are."""
    found: dict[str, Any] = {}
    for name, layer in net.named_modules(remove_duplicate=False):
        for key, value in layer._parameters.items():
            if value is not None:
                found[f"{name}.{key}"] = value.detach().clone()
                found[f"{name}.{key} itself"] = id(value)
                found[f"{name}.{key} requires_grad"] = value.requires_grad
                found[f"{name}.{key} grad"] = None if value.grad is None else value.grad.clone()
                found[f"{name}.{key} grad itself"] = id(value.grad)
        for key, buffer in layer._buffers.items():
            if buffer is not None:
                found[f"{name}.{key}"] = buffer.detach().clone()
                found[f"{name}.{key} itself"] = id(buffer)
        found[f"{name} training"] = layer.training
        found[f"{name} attributes"] = sorted(layer.__dict__)
        found[f"{name} forward"] = id(layer.__dict__.get("forward"))
        for key, value in layer.__dict__.items():
            if key.endswith("_hooks") and value is not None:
                found[f"{name} {key}"] = [id(hook) for hook in value.values()]
    return found


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What is not as it was."""
    return [key for key in before | after if not _same(before.get(key), after.get(key))]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    return type(one) is type(other) and bool(one == other)
