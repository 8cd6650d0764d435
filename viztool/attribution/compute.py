"""From a network and a photo to the attribution of a score to pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from viztool.attribution import registry
from viztool.attribution.baseline import Baseline, baseline_of
from viztool.attribution.through import Through, ways
from viztool.errors import check_seed
from viztool.heatmaps.heatmap import Heatmap, require_finite
from viztool.hooks.evaluating import evaluating
from viztool.hooks.frozen import frozen
from viztool.hooks.naming import unwrap
from viztool.hooks.watch import watch
from viztool.models.model import Model
from viztool.models.subject import one_batch
from viztool.render.colormaps import Picture
from viztool.targets.question import Question
from viztool.targets.resolve import Target


def attribute(
    model: Model | nn.Module,
    photo: Picture | Sequence[Picture] | Tensor,
    method: str = "integrated_gradients",
    target: Target = None,
    *,
    through: Through | None = None,
    baseline: Baseline = "mean",
    seed: int = 0,
    source: str = "photo",
    **options: Any,
) -> Heatmap:
    """Which pixels of the input speak for a score, and which against it.

    photo: uint8 RGB (H, W, 3), or a list of these; or a tensor (N, C, H, W) or (N, C, T, H, W), normalised
        already, which a bare network needs. They are looked at as one batch, and give N maps.
    method: one of `viztool.attribution.METHODS`; `viztool.attribution.describe(method)` is its formula and paper.
    target: a class, by index or name; a list, one for each image; or a callable from the network's output to one
        score an image. By default the class that each image's output says.
    through: (layer, channel), for the LRP methods: only the relevance that flows through this unit of the network.
        The maps of all channels add up to that of the layer. Of one photo there may be several channels,
        ("blocks.4", [3, 17]): a map each.
    baseline: the input that shows nothing, for the methods that compare with one. "mean" (the default) is the
        colour that the preprocessing subtracts, zeros to the network; "black" is black; "blur" is the input
        without its details; or a normalised tensor that broadcasts to the input.
    seed: of all that is random. source: what the photo is called on the sheet.
    options: those of the method: `steps`, `samples`, `noise`, `window`, `stride` ...

    `.raw` is float32 (N, H, W) at the input's resolution, summed over its channels; and, of an input (N, C, T, H, W),
    over time, where `.over_time` has (N, T, H, W) if the method tells one moment from another. `.details` says
    with which options, and how far the map's sum is from what it should be. The network runs in evaluation
    mode and is left as it was. Raises ViztoolError for an unknown method, option or baseline, TargetError and
    ModelError for a target or an input that does not fit, or an operation that the method has no rule for.
    """
    chosen = registry.find(method)
    settings = chosen.with_options(options)
    if through is not None:
        registry.require_through(chosen)
    check_seed(seed)
    x, subjects = one_batch(model, photo, source)
    net = unwrap(model)
    with torch.inference_mode(False), torch.no_grad(), evaluating(net), frozen(net), watch({}):
        question = Question(model, x, target, seed=seed)
        require_finite("the score", question.score)
        question.through = at = None if through is None else ways(net, question.x, through)
        compared = (baseline_of(model, question.x, baseline),) if chosen.baseline else ()
        raw = chosen.compute(question, *compared, **settings).float()
        raw = raw if raw.dim() == 3 else raw.sum(1)
        over_time = raw if raw.dim() == 4 else None
        raw = raw if over_time is None else raw.sum(1)
        told = baseline if isinstance(baseline, str) else "a tensor"
        # Several channels of one image: a map each.
        each = len(raw) // len(x)
        return Heatmap(
            method=chosen.name,
            raw=raw.cpu(),
            target=question.target.names * each,
            classes=None if question.target.classes is None else question.target.classes * each,
            score=question.score.cpu().repeat(each),
            layer=(),
            signed=chosen.signed,
            subjects=subjects * each,
            predictions=question.reader.says(question.output, len(x)) * each,
            unit=question.details.pop("unit", chosen.unit),
            seed=seed if chosen.seeded else None,
            over_time=None if over_time is None else over_time.cpu(),
            details={
                "title": chosen.title if at is None else f"{chosen.title} {at.in_words}",
                "paper": chosen.paper,
                "channels": "summed",
                **({} if at is None else {"through": {"layer": at.layer, "channels": list(at.channels)}}),
                **({"baseline": told} if chosen.baseline else {}),
                **settings,
                **question.details,
            },
        )
