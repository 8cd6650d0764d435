"""From a network and a photo to feature maps, in one forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, get_args, overload

import torch
from torch import Tensor, nn

from viztool.errors import LayerError, ModelError, ViztoolError
from viztool.features.layer_maps import LayerMaps, channel_statistics
from viztool.features.result import FeatureMaps, Normalize
from viztool.hooks import capture
from viztool.hooks.activations import Activations
from viztool.hooks.evaluating import evaluating
from viztool.hooks.layout_memory import following
from viztool.hooks.layouts import Layouts
from viztool.hooks.naming import kind_of, named_layers, unwrap
from viztool.hooks.select import STAGES, Patterns, as_words
from viztool.hooks.stages import having_maps
from viztool.hooks.tail import as_real
from viztool.hooks.watch import watch
from viztool.inspect.receptive_field import ReceptiveField
from viztool.inspect.trace import FieldTracer
from viztool.models.model import Model
from viztool.models.subject import Subject, looks_at, reader_of
from viztool.render.colormaps import Picture
from viztool.results import Results
from viztool.tensors.tree import tensors_in


@overload
def feature_maps(
    model: Model | nn.Module,
    photo: Picture,
    layers: Patterns | None = None,
    top: int | None = 16,
    *,
    normalize: Normalize = "channel",
    overlay: bool = False,
    source: str = "photo",
) -> FeatureMaps: ...
@overload
def feature_maps(
    model: Model | nn.Module,
    photo: Sequence[Picture],
    layers: Patterns | None = None,
    top: int | None = 16,
    *,
    normalize: Normalize = "channel",
    overlay: bool = False,
    source: str = "photo",
) -> Results[FeatureMaps]: ...
@overload
def feature_maps(
    model: Model | nn.Module,
    photo: Tensor,
    layers: Patterns | None = None,
    top: int | None = 16,
    *,
    normalize: Normalize = "channel",
    overlay: bool = False,
    source: str = "photo",
) -> FeatureMaps | Results[FeatureMaps]: ...


def feature_maps(
    model: Model | nn.Module,
    photo: Picture | Sequence[Picture] | Tensor,
    layers: Patterns | None = None,
    top: int | None = 16,
    *,
    normalize: Normalize = "channel",
    overlay: bool = False,
    source: str = "photo",
) -> FeatureMaps | Results[FeatureMaps]:
    """The maps of a network's layers for a photo.

    photo: uint8 RGB (H, W, 3), or a list of these; or a tensor (N, C, H, W), normalised already, which a
    bare network needs. Several photos, or a tensor with N > 1, give a list of results.
    layers: patterns or modules as in `capture`; by default the last layer at each resolution.
    top: how many channels to draw of each layer, those with the largest spatial standard deviation;
    None for all. All are kept in `.layers[i].maps`.
    normalize: one colour scale for each "channel", or one for all of a "layer".
    overlay: draw each map over the photo. source: what the photo is called on the sheet.

    The network runs once, in evaluation mode and without grad, and is left as it was. Raises LayerError
    if no layer matches or none of them has maps, ModelError if the network cannot run on the photo.
    """
    if top is not None and (not isinstance(top, int) or top < 1):
        raise LayerError(f"top is {top}; draw at least one channel, or all with top=None")
    if normalize not in get_args(Normalize):
        raise LayerError(f"normalize is {normalize!r}; it is one of {', '.join(get_args(Normalize))}")
    looks, single = looks_at(model, photo, source)
    results = Results(
        result
        for x, subjects in looks
        for result in _look(model, x, subjects, layers, top, normalize=normalize, overlay=overlay)
    )
    return results[0] if single else results


def _look(
    model: Model | nn.Module,
    x: Tensor,
    subjects: Sequence[Subject],
    asked: Patterns | None,
    top: int | None,
    *,
    normalize: Normalize,
    overlay: bool,
) -> list[FeatureMaps]:
    """The results for a batch: one forward that captures, traces receptive fields, and predicts."""
    net = unwrap(model)
    named = named_layers(net)
    patterns = [STAGES] if asked is None else as_words(named, asked)
    fields: dict[str, ReceptiveField | None] = {}

    def note_field(name: str, module: nn.Module, output: Any) -> None:
        if isinstance(output, Tensor):
            fields[name] = tracer.of(output)

    with (
        evaluating(net),
        torch.no_grad(),
        FieldTracer(net, x) as tracer,
        watch(named, exit=note_field),
        following(net, x) as layouts,
        having_maps() if patterns == [STAGES] else nullcontext(),
        capture(net, patterns) as acts,
    ):
        output = _run(net, x)

    kept = {name: _maps(name, acts, layouts) for name in acts}
    without = tuple(name for name, maps in kept.items() if maps is None)
    refused = [name for name in without if name in patterns] or (list(without) if len(without) == len(kept) else [])
    if refused:
        raise LayerError(
            f"layer {refused[0]!r} puts out no maps (channels of height × width); "
            "choose a layer before the network flattens them"
        )
    layers = [
        _layer_maps(name, kind_of(named[name]), maps, top, fields.get(name), len(acts.calls(name)))
        for name, maps in kept.items()
        if maps is not None
    ]
    predictions = reader_of(model, x).says(output, len(subjects))
    return [
        FeatureMaps(subject, predictions[index], tuple(each[index] for each in layers), without, normalize, overlay)
        for index, subject in enumerate(subjects)
    ]


def _maps(layer: str, acts: Activations, layouts: Layouts) -> Tensor | None:
    first = next(tensors_in(acts[layer]), None)
    maps = None if first is None else layouts.find(layer, first)
    return None if maps is None else as_real(maps).float()


def _run(net: nn.Module, x: Tensor) -> Any:
    try:
        return net(x.clone())  # it may change its input in place
    except (ViztoolError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ModelError(
            f"{type(net).__name__} cannot run on an input of {tuple(x.shape)}: {reason}; try another size"
        ) from error


def _layer_maps(
    name: str, kind: str, maps: Tensor, top: int | None, field: ReceptiveField | None, calls: int
) -> list[LayerMaps]:
    """The layer's maps for each image of the batch, ranked where they were computed."""
    arrays = maps.cpu().numpy()
    return [
        LayerMaps(name, kind, array, statistics, tuple(statistics.ranked()[:top].tolist()), field, calls)
        for array, statistics in zip(arrays, channel_statistics(maps), strict=True)
    ]
