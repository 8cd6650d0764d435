"""From a network and a photo to a class activation map."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from viztool.cam import registry
from viztool.cam.decomposition import first_component
from viztool.cam.evidence import Evidence
from viztool.cam.layer_choice import choose_layer, last_over_time, stages, stages_before
from viztool.cam.registry import CamMethod
from viztool.cam.smoothing import fuse, largest, views
from viztool.errors import LayerError, ModelError, TargetError, UnrelatedError, ViztoolError
from viztool.heatmaps.heatmap import Heatmap
from viztool.hooks.evaluating import evaluating
from viztool.hooks.frozen import frozen
from viztool.hooks.naming import named_layers, unwrap
from viztool.hooks.select import STAGES, Patterns, as_words, select
from viztool.hooks.watch import watch
from viztool.models.model import Model
from viztool.models.subject import one_batch
from viztool.render.colormaps import Picture
from viztool.targets.question import Question
from viztool.targets.resolve import Target


def class_activation_map(
    model: Model | nn.Module,
    photo: Picture | Sequence[Picture] | Tensor,
    method: str = "gradcam",
    target: Target = None,
    layer: Patterns | None = None,
    *,
    smooth_flips: bool = False,
    smooth_scales: Sequence[float] = (),
    smooth_eigen: bool = False,
    seed: int = 0,
    source: str = "photo",
) -> Heatmap:
    """Where a layer holds what speaks for a class.

    photo: uint8 RGB (H, W, 3), or a list of these; or a tensor (N, C, H, W), normalised already, which a
        bare network needs. They are looked at as one batch, and give N maps. Of a tensor (N, C, T, H, W) `.over_time`
        has the map at each moment, and `.raw` is their sum.
    method: one of `viztool.cam.METHODS`; `viztool.cam.describe(method)` is its formula and paper.
    target: a class, by index or name; a list, one for each image; or a callable from the network's output to one
        score an image. By default the class that each image's output says.
    layer: a pattern or a module as in `capture`; by default the last stage with maps that the output depends on, or
        the next before it where the map is not all zero (`details["all_zero_at"]` then names those where it is). Of
        several layers the result is the mean of their maps, each over its own largest absolute value, at the size of
        the largest.
    smooth_flips, smooth_scales: also look at the mirrored image, and at the image at these scales (for
        networks that take other sizes); the result is the mean of the maps, each over its own largest
        absolute value, at the size of the first.
    smooth_eigen: in place of the sum over channels, the first principal component of the weighted channels.
    seed: of all that is random. source: what the photo is called on the sheet.

    `.raw` is float32 at the layer's resolution. The network runs in evaluation mode and is left as it was.
    Raises ViztoolError for an unknown method; LayerError, TargetError and ModelError for a layer, a target or an
    input that does not fit.
    """
    chosen = registry.find(method)
    if smooth_eigen and chosen.gives != "weights":
        raise ViztoolError(f"{method} weights no channels, so smooth_eigen has none to smooth over; leave it out")
    if smooth_flips and callable(target):
        raise TargetError("mirroring moves what a target of your own may look at; leave smooth_flips out")
    x, subjects = one_batch(model, photo, source)
    if x.dim() == 5 and (smooth_flips or smooth_scales):
        raise ModelError("smooth_flips and smooth_scales are of pictures; leave them out where the input has a time")
    net = unwrap(model)
    with torch.inference_mode(False), torch.no_grad(), evaluating(net), frozen(net), watch({}):
        question = Question(model, x, target, layers=_layers(net, x, chosen, layer), seed=seed)

        def see(one: Question) -> Tensor:
            return _seen(chosen, one, smooth_flips, smooth_scales, smooth_eigen)

        single = not smooth_flips and not {*smooth_scales} - {1}
        if layer is None and question.layers and not question.has_time:
            question, raw = _at_the_last_that_says(question, see)
        else:
            raw = see(question)
        over_time = raw.cpu() if raw.dim() == 4 else None
        return Heatmap(
            method=chosen.name,
            raw=raw.cpu() if over_time is None else over_time.sum(1),
            target=question.target.names,
            classes=question.target.classes,
            score=question.score.cpu(),
            layer=question.layers,
            signed=chosen.signed,
            subjects=subjects,
            predictions=question.reader.says(question.output, len(x)),
            unit=chosen.unit if single and len(question.layers) <= 1 else "of the maximum",
            seed=seed,
            over_time=over_time,
            details={"title": chosen.title, "paper": chosen.paper, **question.details},
        )


def _seen(
    method: CamMethod, question: Question, smooth_flips: bool, smooth_scales: Sequence[float], smooth_eigen: bool
) -> Tensor:
    """The map, (N, h, w), over all that is looked at."""
    x = question.x
    maps = [
        back(_map(method, question if view is x else question.on(view), smooth_eigen))
        for view, back in views(x, smooth_flips, smooth_scales)
    ]
    return maps[0] if len(maps) == 1 else fuse(maps, (maps[0].shape[1], maps[0].shape[2]))


def _at_the_last_that_says(question: Question, see: Callable[[Question], Tensor]) -> tuple[Question, Tensor]:
    """The question's layer if its map is not all zero; else the last stage before it where it is not; and the map.

    So it is where a network goes on from one of several layers, which a target may not come from: the boxes of a
    detection network each look into the level of its pyramid that has their size, and some classes into none.
    Where there is no such stage, what the question's own layer gives: its map, or its UnrelatedError.
    """
    own = _map_or_error(see, question)
    if isinstance(own, Tensor) and bool(own.any()):
        return question, own
    silent = list(question.layers)
    for stage in stages_before(question.net, question.x, question.layers[0]):
        other = question.on(question.x, (stage,))
        found = _map_or_error(see, other)
        if isinstance(found, Tensor) and bool(found.any()):
            other.details["all_zero_at"] = silent
            return other, found
        silent.append(stage)
    if isinstance(own, UnrelatedError):
        raise own
    return question, own


def _map_or_error(see: Callable[[Question], Tensor], question: Question) -> Tensor | UnrelatedError:
    try:
        return see(question)
    except UnrelatedError as error:
        return error


def _layers(net: nn.Module, x: Tensor, method: CamMethod, layer: Patterns | None) -> tuple[str, ...]:
    if method.whole:
        if layer is not None:
            raise LayerError(f"{method.name} is of the whole network; leave the layer out")
        if x.dim() == 5:
            raise LayerError(f"{method.name} is of pictures, and the input has a time; take another method")
        return ()
    if layer is None:
        return (choose_layer(net, x) if x.dim() == 4 else last_over_time(net, x),)
    patterns = as_words(named_layers(net), layer)
    found = stages(net, x) if STAGES in patterns else []
    named = [pattern for pattern in patterns if pattern != STAGES]
    picked = select(named_layers(net), named) if named or not found else []
    layers = tuple(dict.fromkeys([*found, *picked]))
    if x.dim() == 5 and len(layers) > 1:
        raise LayerError(f"{len(layers)} layers were picked; of an input with a time the map is of one")
    return layers


def _map(method: CamMethod, question: Question, smooth_eigen: bool) -> Tensor:
    """The map, (N, h, w), of all layers of the question."""
    maps = [_map_of_layer(method, Evidence(question, layer), smooth_eigen) for layer in question.layers or ("",)]
    return maps[0] if len(maps) == 1 else fuse(maps, largest(maps))


def _map_of_layer(method: CamMethod, evidence: Evidence, smooth_eigen: bool) -> Tensor:
    made = method.compute(evidence)
    if method.gives == "weights":
        weighted = made * evidence.activations
        made = first_component(weighted) if smooth_eigen else weighted.sum(1)
    made = made.relu() if method.relu else made
    return made.unflatten(1, (evidence.times, -1)) if evidence.question.has_time else made
