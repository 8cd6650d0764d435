"""A sample made of everything that was measured in one step."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, nan, sqrt

import numpy as np
from torch import Tensor, nn
from torch.optim import Optimizer

from viztool.monitor.layers import Watched, order_of
from viztool.monitor.layers_by_name import layer_of
from viztool.monitor.measured import Measured
from viztool.monitor.sample import Sample, forward_numbers, input_numbers, ratios_along_depth
from viztool.monitor.sampler import Seen
from viztool.monitor.updates import count_kept, noise_scale

NETWORK, PARAMETERS, NOTED = "\0network", "\0parameters", "\0noted"
"""Keys beside the layers', which no layer can have."""


@dataclass(eq=False)
class Parts:
    """What the steps of a sample do to the parameters. before: their values, by optimizer; the rest by parameter.

    stepped: the optimizers, by id, that have made a step.
    """

    before: dict[int, list[tuple[nn.Parameter, Tensor]]] = field(default_factory=dict)
    changes: dict[int, Tensor] = field(default_factory=dict)
    gradients: dict[int, Tensor] = field(default_factory=dict)
    first_gradients: dict[int, Tensor] = field(default_factory=dict)
    """Of the first of several micro-batches."""
    stepped: set[int] = field(default_factory=set)

    def seen(self) -> Seen:
        found = Seen()
        for what, tensors in (("c", self.changes), ("g", self.gradients), ("f", self.first_gradients)):
            for key, tensor in tensors.items():
                found.add(f"{what}{key}", tensor, "last")
        return found


@np.errstate(all="ignore")  # what is infinite gives what is no number: where warnings are errors, that is none
def assembled(
    measured: Mapping[str, Measured],
    layers: Sequence[Watched],
    optimizers: Iterable[Optimizer],
    step: int,
    seconds: float,
    resting: Container[int] = (),
) -> Sample:
    """The sample. measured: by layer, and under `NETWORK`, `PARAMETERS` and `NOTED`.

    resting: ids of the optimizers that made no step in it; of their parameters nothing is known.
    """
    sample = Sample(step, seconds)
    fired = {key: each for key, each in measured.items() if not key.startswith("\0") and "moments" in each.values}
    for key in order_of(fired, list(layers)):
        sample.layers[key] = forward_numbers(fired[key]) if key in fired else {}
        tops = fired[key].get("tops") if key in fired else None
        if tops is not None:
            sample.tops[key] = (tops, int(fired[key].counts["images"]))
    ratios_along_depth(sample.layers)
    network = measured.get(NETWORK, Measured())
    sample.network = input_numbers(network)
    if not sample.network["forwards"] and fired:  # its parts are called, and never the network itself
        sample.network["images"] = max(each.counts["images"] for each in fired.values())
    parameters = measured.get(PARAMETERS, Measured())
    optimizers = list(optimizers)
    known = _parameters_of(optimizers)
    unknown = _parameters_of(each for each in optimizers if id(each) in resting)
    for layer in layers:
        own = next((key for key in sample.layers if layer_of(key) == layer.name), None)
        if own is not None and layer.parameters:
            _put_parameters(sample, own, layer, parameters, known, unknown, ran=own in fired)
    sample.groups = [_group(group, parameters, unknown) for each in optimizers for group in each.param_groups]
    sample.noted = {name: float(value[0].mean()) for name, value in measured.get(NOTED, Measured()).values.items()}
    _put_noise(sample, parameters)
    return sample


def _parameters_of(optimizers: Iterable[Optimizer]) -> set[int]:
    return {id(each) for optimizer in optimizers for group in optimizer.param_groups for each in group["params"]}


def _put_parameters(
    sample: Sample, key: str, layer: Watched, found: Measured, known: set[int], unknown: set[int], *, ran: bool
) -> None:
    numbers = sample.layers[key]
    asked = [each for each in layer.parameters if each.requires_grad and id(each) not in unknown]
    if not asked:
        return
    gradients = [value for each in asked if (value := found.get(f"g{id(each)}")) is not None]
    if gradients:
        total = float(np.sum(gradients))
        numbers["weight gradient"] = sqrt(total) if total >= 0 else nan
    numbers["moved"] = _ratio(asked, found)
    weights = [each for each in asked if each.ndim > 1]
    if weights:
        numbers["update"] = _ratio(weights, found)
        numbers["change"], numbers["size"] = _norms(weights, found)
        numbers["usual"] = sqrt(sum(_usual(each) for each in weights))
    if numbers["moved"] == 0:
        stepped = any(f"c{id(each)}" in found.values for each in asked)
        sample.idle[key] = _reason(asked, gradients, known, ran, stepped)


def _reason(
    asked: Sequence[nn.Parameter], gradients: Sequence[object], known: set[int], ran: bool, stepped: bool
) -> str:
    if not any(id(each) in known for each in asked):
        return "no optimizer has them"
    if not stepped:
        return "their optimizer makes no step"
    if not ran:
        return "the layer did not run"
    return "no gradient" if not gradients or not np.any(np.asarray(gradients)) else "the steps are 0"


def _ratio(parameters: Iterable[nn.Parameter], found: Measured) -> float:
    """The norm of the change over that of the values; what no optimizer has does not change."""
    change, size = _norms(parameters, found)
    if change == 0:
        return 0.0
    return change / size if size > 0 else inf


def _norms(parameters: Iterable[nn.Parameter], found: Measured) -> tuple[float, float]:
    """Of the change, and of the values before it."""
    pairs = [value for each in parameters if (value := found.get(f"c{id(each)}")) is not None]
    change, size = (float(np.sum([pair[at] for pair in pairs])) if pairs else 0.0 for at in (0, 1))
    return sqrt(change), sqrt(size)


def _usual(weight: nn.Parameter) -> float:
    """The squared norm of weights as small as a first value of them usually is: a third of 1 / √fan-in each."""
    return count_kept(weight) / (9 * max(1, weight[0].numel()))


def _group(group: Mapping[str, object], found: Measured, unknown: set[int]) -> dict[str, float]:
    parameters = [each for each in group["params"] if isinstance(each, nn.Parameter)]  # type: ignore[attr-defined]
    rate = group.get("lr", nan)
    update = nan if unknown and unknown.issuperset(map(id, parameters)) else _ratio(parameters, found)
    return {"lr": float(rate), "update": update}  # type: ignore[arg-type]


def _put_noise(sample: Sample, found: Measured) -> None:
    """Of an accumulated step: the two parts of the gradient noise scale, to be averaged over samples."""
    count, images = sample.network["forwards"], sample.network["images"]
    small = [float(value[0][0]) for name, value in found.values.items() if name.startswith("f")]
    if count < 2 or images < count or not small:
        return
    names = [name for name in found.values if name.startswith("f")]
    large = sum(float(value[0]) for name in names if (value := found.get(f"g{name[1:]}")) is not None)
    noise, signal = noise_scale(sum(small), large, images / count, round(count))
    sample.network["noise"], sample.network["signal"] = noise, signal
