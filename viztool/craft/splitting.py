"""A concept that mixes several, taken apart at an earlier layer: the recursion of CRAFT."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from viztool.atlas.sources import Photos
from viztool.craft.find import found_in
from viztool.craft.looking import Box, Given, crop, given_photos, look
from viztool.craft.result import Concepts
from viztool.errors import LayerError, SettingError
from viztool.hooks.capture import capture
from viztool.hooks.evaluating import evaluating
from viztool.hooks.naming import unwrap
from viztool.hooks.select import STAGES, Pattern, exactly
from viztool.models.model import Model
from viztool.targets.resolve import Target

_SHARE, _LEAST = 0.1, 12
"""Of all crops, those that hold most of a concept."""


def split(
    model: Model | nn.Module,
    photos: Photos | Tensor,
    concepts: Concepts,
    number: int,
    target: Target = None,
    layer: Pattern | None = None,
    count: int = 2,
    *,
    crop: float = 0.4,
    label: str | None = None,
    seed: int = 0,
) -> Concepts:
    """The concepts that one of them is made of: those of an earlier layer on the crops that hold most of it.

    photos, target, crop, label: what the concepts were found with; the target may be left out, if it is a
        class. number: of the concept, from 1, as on the sheet.
    layer: an earlier one; by default the stage before. Their importance is for the class, on these crops.
    Raises SettingError for a concept that is not there, else as `viztool.concepts`.
    """
    if not 1 <= number <= len(concepts):
        raise SettingError(f"there is no concept {number}; there are 1 to {len(concepts)}")
    failed: list[tuple[str, str]] = []
    best = _most_of(model, given_photos(model, photos, label, failed), concepts, number - 1, crop)
    target = concepts.index if target is None else target
    earlier = _before(model, best[0].x, concepts.layer) if layer is None else layer
    of = f"concept {number} of {concepts.target} at {concepts.layer}"
    return found_in(model, best, failed, target, earlier, count, 1.0, seed, of=of)


def _most_of(
    model: Model | nn.Module, given: Iterator[Given], concepts: Concepts, which: int, share: float
) -> list[Given]:
    """The crops that hold most of a concept, as photos of their own."""
    found: list[tuple[float, Given, Box]] = []
    with torch.no_grad(), evaluating(unwrap(model)):
        for one in given:
            seen = look(model, one, concepts.layer, share)
            values = concepts.parts.coefficients(seen.crops)[:, which].tolist()
            found += [(value, one, box) for value, box in zip(values, seen.boxes, strict=True)]
    found.sort(key=lambda each: -each[0])
    return [_alone(one, box) for _, one, box in found[: max(_LEAST, round(_SHARE * len(found)))]]


def _alone(given: Given, box: Box) -> Given:
    top, left, bottom, right = map(int, box)
    subject = replace(given.subject, view=given.cut(box), seen=given.in_photo(box))
    return Given(f"{given.id} [{top}:{bottom}, {left}:{right}]", crop(given.x, box), subject, given.size)


def _before(model: Model | nn.Module, x: Tensor, layer: str) -> str:
    """The last stage that ends before the layer does."""
    net = unwrap(model)
    with torch.no_grad(), evaluating(net), capture(net, [STAGES, *exactly([layer])], reduce=_nothing) as acts:
        net(x.clone())
    order = acts.layers
    before = order[: order.index(layer)]
    if not before:
        raise LayerError(f"there is no stage before {layer!r}; name an earlier layer")
    return before[-1]


def _nothing(tensor: Tensor) -> None:
    """Of what is captured only the names are wanted."""
