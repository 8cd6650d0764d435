"""From the devices to the host: everything that a sample measured in one copy; and from all processes to one."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from viztool.monitor.measured import Measured
from viztool.monitor.sampler import Seen


def to_host(seen: Mapping[str, Seen]) -> dict[str, Measured]:
    """All tensors of all layers: one copy from each device."""
    places = [(key, name) for key, each in seen.items() for name in each.tensors]
    by_device: dict[torch.device, list[tuple[str, str, Tensor]]] = {}
    for key, name in places:
        tensor = seen[key].tensors[name][0]
        by_device.setdefault(tensor.device, []).append((key, name, tensor))
    found = {key: Measured(counts=dict(each.counts), settled_after=each.settled_after) for key, each in seen.items()}
    for entries in by_device.values():
        with torch.no_grad():
            joined = torch.cat([tensor.reshape(-1).float() for *_, tensor in entries]).cpu().double().numpy()
        at = 0
        for key, name, tensor in entries:
            found[key].values[name] = (joined[at : at + tensor.numel()], seen[key].tensors[name][1])
            at += tensor.numel()
    return found


def over_processes(mine: dict[str, Measured] | None) -> dict[str, Measured] | None:
    """What all processes of a distributed training saw, together; None if one of them could not look.

    Every process calls this in the same step. mine: None if it failed.
    """
    from torch import distributed

    all_of_them: list[dict[str, Measured] | None] = [None] * distributed.get_world_size()
    distributed.all_gather_object(all_of_them, mine)
    if any(each is None for each in all_of_them):
        return None
    whole: dict[str, Measured] = {}
    for each in all_of_them:
        for key, measured in (each or {}).items():
            if key in whole:
                whole[key].add(measured)
            else:
                whole[key] = measured
    return whole
