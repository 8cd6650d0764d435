"""Does a map change with the network and with the target? One that does not explains neither. Adebayo et al. 2018."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from viztool.errors import ModelError, ViztoolError
from viztool.faithfulness.reinitialize import blocks_from_the_top, reinitialize
from viztool.faithfulness.sanity import SanityCheck
from viztool.heatmaps.heatmap import Heatmap
from viztool.hooks.evaluating import evaluating
from viztool.hooks.naming import unwrap
from viztool.models.model import Model
from viztool.models.reading import Reading
from viztool.models.subject import looks_at, reader_of
from viztool.render.colormaps import Picture

Explain: TypeAlias = Callable[..., Heatmap]
"""Called as explain(model, photo, target=classes): `partial(class_activation_map, method="gradcam")`."""

Shown: TypeAlias = Picture | Sequence[Picture] | Tensor


def randomize_weights(
    model: Model | nn.Module, photo: Shown, explain: Explain, *, steps: int = 12, seed: int = 0
) -> SanityCheck:
    """The map again and again while the network is randomised from its top layer down, on a private copy.

    Cascading randomisation, Adebayo et al. 2018: a map that stays the same does not depend on what the
    network has learnt. steps: at most that many parts of the network, the last to run first; what was randomised
    stays so. The first entry is the copy as it is: its correlation is 1, unless the method itself is a matter of
    chance. The target stays the class that the network as it was says.

    Raises ModelError if the network cannot be copied.
    """
    if steps < 1:
        raise ViztoolError(f"steps must be at least 1, got {steps}")
    original = explain(model, photo)
    explain = _held(explain, original)
    private = _copy(model)
    net = unwrap(private)
    looks, _ = looks_at(private, photo, "photo")
    with evaluating(net):
        blocks = blocks_from_the_top(net, looks[0][0], steps)
    layers = dict(net.named_modules())
    generator = torch.Generator().manual_seed(seed)
    done: set[int] = set()
    maps = [_again(explain, private, photo, original)]
    for block in blocks:
        reinitialize(layers[block], generator, done)
        maps.append(_again(explain, private, photo, original))
    return SanityCheck("weights", original, ("as trained", *blocks), tuple(maps), seed)


def randomize_labels(
    model: Model | nn.Module, photo: Shown, explain: Explain, *, count: int = 8, seed: int = 0
) -> SanityCheck:
    """The map of the target beside those of other classes, drawn at random.

    A map that is the same for every class does not tell why it is this one (the random-logit test of Sixt et al.
    2020; Adebayo et al. 2018 train a network on random labels instead). The first entry is the target
    once more. Each image gets the same classes, but for its own.
    """
    original = explain(model, photo)
    if original.classes is None:
        raise ViztoolError(
            f"the map is of {original.target[0]}, which is no class; there are no others to compare with"
        )
    reading, total = _read(model, photo)
    if not 1 <= count < total:
        raise ViztoolError(f"count must be from 1 to {total - 1}, the number of other classes; got {count}")
    shuffled = torch.randperm(total, generator=torch.Generator().manual_seed(seed)).tolist()
    others = [[label for label in shuffled if label != own][:count] for own in original.classes]
    maps = [_again(explain, model, photo, original)]
    maps += [explain(model, photo, target=[labels[index] for labels in others]) for index in range(count)]
    names = ["the target", *(reading.name(others[0][index]) for index in range(count))]
    if len(others) > 1:
        names[1:] = [f"other class {index + 1}" for index in range(count)]
    return SanityCheck("labels", original, tuple(names), tuple(maps), seed)


def _held(explain: Explain, original: Heatmap) -> Explain:
    """The same at the layers of the original, where nobody said which: a randomised network may choose others."""
    try:
        asked = inspect.signature(explain).parameters.get("layer")
    except (TypeError, ValueError):  # a callable that does not tell
        return explain
    if asked is None or asked.default is not None or not original.layer:
        return explain
    return partial(explain, layer=list(original.layer))


def _again(explain: Explain, model: Model | nn.Module, photo: Shown, original: Heatmap) -> Heatmap:
    """The map of the same classes; of the same score, if that is in `explain` itself."""
    return explain(model, photo) if original.classes is None else explain(model, photo, target=list(original.classes))


def _copy(model: Model | nn.Module) -> Any:
    net = unwrap(model)
    try:
        private = copy.deepcopy(net)
    except (RuntimeError, TypeError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ModelError(
            f"the network cannot be copied, and its own weights are not to be touched: {reason}"
        ) from error
    return replace(model, net=private) if isinstance(model, Model) else private


def _read(model: Model | nn.Module, photo: Shown) -> tuple[Reading, int]:
    """How the output is read, and how many classes it has."""
    net = unwrap(model)
    looks, _ = looks_at(model, photo, "photo")
    x = looks[0][0][:1]
    with evaluating(net), torch.no_grad():
        output = net(x.clone())
        reading = reader_of(model, x).settle(output)
        return reading, reading.scores(output).shape[1]
