"""The layer to look at when none is named."""

from __future__ import annotations

import weakref
from collections.abc import Hashable, Iterator
from itertools import chain
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from viztool.errors import LayerError
from viztool.hooks.capture import capture
from viztool.hooks.layout_memory import following
from viztool.hooks.naming import named_layers
from viztool.hooks.select import STAGES
from viztool.hooks.stages import having_maps
from viztool.hooks.tail import TailPass
from viztool.hooks.watch import watch
from viztool.tensors.tree import tensors_in

_chosen: weakref.WeakKeyDictionary[nn.Module, dict[Hashable, str]] = weakref.WeakKeyDictionary()


def choose_layer(net: nn.Module, x: Tensor) -> str:
    """The last stage of the network, whose maps are larger than 1 × 1, that its output depends on.

    Where the output does not (of a Vision Transformer that reads its class token alone, the last block's
    patches), the last layer before it with maps of the same form that it does depend on: there the norm before
    the block's attention. The maps of class scores that a segmentation network ends in are no stage: it is the
    last layer before them.

    It is found with the first image, and remembered for the network as long as that holds the same layers.
    Raises LayerError if no layer has maps.
    """
    known = _chosen.setdefault(net, {})
    layers = tuple((name, type(layer)) for name, layer in named_layers(net).items())
    key = (tuple(x.shape[1:]), hash(layers))
    if key not in known:
        candidates = list(chain.from_iterable(_candidates(net, x[:1])))
        found = next((layer for layer in candidates if _matters(net, x[:1], layer)), None)
        if found is None:
            return candidates[0]  # not remembered: the network's last layer may be all zeros before it is trained
        known[key] = found
    return known[key]


def stages_before(net: nn.Module, x: Tensor, layer: str) -> Iterator[str]:
    """For each stage before that of `layer`, from the last: its last layer that the output depends on."""
    candidates = _candidates(net, x[:1])
    own = next((index for index, stage in enumerate(candidates) if layer in stage), len(candidates))
    for stage in candidates[own + 1 :]:
        found = next((each for each in stage if _matters(net, x[:1], each)), None)
        if found is not None:
            yield found


def last_over_time(net: nn.Module, x: Tensor) -> str:
    """Of an input (N, C, T, H, W): the last layer that puts out such maps, of more than one place.

    Raises LayerError if there is none.
    """
    found: list[str] = []

    def note(name: str, layer: nn.Module, output: Any) -> None:
        if name and isinstance(output, Tensor) and output.dim() == 5 and prod(output.shape[-2:]) > 1:
            found.append(name)

    with torch.no_grad(), watch(named_layers(net), exit=note):
        net(x[:1].clone())
    if not found:
        raise LayerError("no layer puts out maps over time (channels of time × height × width)")
    return found[-1]


def stages(net: nn.Module, x: Tensor) -> list[str]:
    """The last layer at each resolution, in the order in which they run. Raises LayerError if none has maps."""
    with torch.no_grad(), having_maps(), capture(net, STAGES, reduce=_nothing) as acts:
        net(x.clone())
    return acts.layers


def _nothing(tensor: Tensor) -> None:
    """Of what is captured only the names are wanted."""


Form = tuple[int, int, int]


def _candidates(net: nn.Module, x: Tensor) -> list[list[str]]:
    """Stages from the last, each with the layers before it in the same form. A layer is in one of them."""
    forms: dict[str, Form] = {}
    proper: set[str] = set()

    def note(name: str, layer: nn.Module, output: Any) -> None:
        sides = layouts.stage_size(name, output, stretched=True)
        forms.pop(name, None)  # of a layer that runs several times the last call counts
        if name and sides is not None and prod(sides) > 1:
            forms[name] = (next(tensors_in(output)).numel() // prod(sides), *sides)
            if layouts.stage_size(name, output) is not None:
                proper.add(name)

    with (
        torch.no_grad(),
        following(net, x) as layouts,
        watch(named_layers(net), exit=note),
        having_maps(),
        capture(net, STAGES, reduce=_nothing) as acts,
    ):
        output = net(x.clone())
    scores = next((tensor for tensor in tensors_in(output) if tensor.dim() == 4), None)
    classes = None if scores is None else scores.shape[1]
    candidates: list[list[str]] = []
    for stage in reversed(acts.layers):
        before = [layer for layer in reversed(forms) if layer in proper or stage not in proper]
        before = before[before.index(stage) :]
        if forms[stage][0] == classes:
            alike = [layer for layer in before if forms[layer][0] != classes]
        else:
            alike = [layer for layer in before if forms[layer] == forms[stage]]
        seen = set(chain.from_iterable(candidates))
        candidates.append([layer for layer in alike if layer not in seen])
    return [stage for stage in candidates if stage] or [acts.layers[-1:]]


def _matters(net: nn.Module, x: Tensor, layer: str) -> bool:
    """Whether the output depends on the layer's maps."""
    try:
        run = TailPass(net, x, layer)
        with torch.enable_grad():
            # Not a plain sum: that of probabilities is 1, whatever the layer says.
            parts = [tensor.float().flatten() for tensor in tensors_in(run.output) if tensor.requires_grad]
            scores = [part @ torch.linspace(1, 2, len(part), device=part.device) for part in parts]
            gradient = run.gradients(torch.stack(scores))[layer] if scores else torch.zeros(())
        return bool(run.as_maps(layer, gradient).any())
    except LayerError:
        return False
