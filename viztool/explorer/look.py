"""All that a page needs of one photo: the maps, what adds up to them, and what speaks for the classes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from viztool.errors import NoGradientError
from viztool.explorer.paths import Path, path_to
from viztool.explorer.record import Recorder, recording
from viztool.explorer.sums import Maps, Sum, needed, sum_of
from viztool.features import FeatureMaps, feature_maps
from viztool.features.layer_maps import ChannelStatistics, LayerMaps, channel_statistics
from viztool.hooks.evaluating import evaluating
from viztool.hooks.layout_memory import layouts_of
from viztool.hooks.naming import kind_of, named_layers, unwrap
from viztool.hooks.select import Patterns, as_words
from viztool.hooks.tail import TailPass
from viztool.inspect.one_forward import untouched
from viztool.models.model import Model
from viztool.models.reading import Reading
from viztool.models.subject import Subject, reader_of
from viztool.render.colormaps import Picture
from viztool.render.predictions import Predictions

CLASSES = 5


@dataclass(frozen=True, eq=False)
class Shown:
    """A layer on the page. of: its maps and statistics; a layer without maps has one position. sources: what each
    step of its sum is called, and which layer on the page it is, if any.
    """

    of: LayerMaps
    sum: Sum | None
    sources: Mapping[int, tuple[str, int | None]]
    flat: bool = False


@dataclass(frozen=True, eq=False)
class Class:
    """One of the classes that the network found. cams: Grad-CAM at each layer, None where there is none.
    shares: of each layer, gradient times activation, summed over each channel. bias, weights: of the last layer, if it
    is linear, whose terms `given` x `weights` and the bias are the class's score.
    """

    name: str
    number: float
    index: int
    cams: Sequence[npt.NDArray[np.float32] | None]
    shares: Sequence[npt.NDArray[np.float32] | None]
    score: float
    bias: float = 0.0
    weights: npt.NDArray[np.float32] | None = None
    given: npt.NDArray[np.float32] | None = None
    from_layer: int | None = None


@dataclass(frozen=True, eq=False)
class Look:
    """A network on one photo."""

    features: FeatureMaps
    predictions: Predictions
    layers: tuple[Shown, ...]
    classes: tuple[Class, ...]

    @property
    def without_gradient(self) -> bool:
        """Whether the classes have no maps, as the network cannot be derived."""
        cams = [cam for one in self.classes for cam, layer in zip(one.cams, self.layers, strict=True) if not layer.flat]
        return bool(cams) and all(cam is None for cam in cams)

    @property
    def subject(self) -> Subject:
        return self.features.subject


def look(model: Model | nn.Module, photo: Picture | Tensor, layers: Patterns | None, source: str) -> Look:
    """Raises LayerError and ModelError as `feature_maps` does."""
    features = feature_maps(model, photo, _not_exact(model, layers), 8, source=source)
    assert isinstance(features, FeatureMaps)
    x = photo if isinstance(photo, Tensor) else _known(model).preprocess(photo).to(_known(model).dtype)
    net = unwrap(model)
    named = named_layers(net)
    with untouched(net, x) as own, recording(named, own) as recorder:
        net(own)
    wanted = [layer.name for layer in features.layers]
    flat = [name for name in features.without_maps if name in recorder.outputs]
    paths = {name: path_to(recorder, recorder.outputs[name]) for name in [*wanted, *flat] if name in recorder.outputs}
    last = path_to(recorder, recorder.outputs[""]) if "" in recorder.outputs else None
    keep = set().union(*(needed(recorder, path) | {path.end} for path in paths.values()))
    keep |= needed(recorder, last) if last is not None else set()
    with untouched(net, x) as own, recording(named, own, keep) as second:
        output = net(own)
    layouts = layouts_of(net, x)

    def maps_in(name: str) -> Maps:
        def maps(tensor: Tensor) -> Tensor | None:
            if name in flat:
                return _column(tensor)
            found = layouts.find(name, tensor)
            return None if found is None else found[0]

        return maps

    columns = {name: _column(second.kept[paths[name].end]) for name in flat}
    bare = [
        LayerMaps(name, kind_of(named[name]), column.numpy(), _statistics(column), (), None)
        for name, column in columns.items()
        if column is not None
    ]
    order = list(recorder.outputs)
    chosen = sorted([*features.layers, *bare], key=lambda layer: order.index(layer.name) if layer.name in order else -1)
    with torch.no_grad():
        sums = {
            layer.name: sum_of(recorder, paths[layer.name], second.kept, maps_in(layer.name))
            for layer in chosen
            if layer.name in paths
        }
    real = {name: step for name, step in recorder.outputs.items() if not isinstance(named[name], nn.Identity)}
    naming = _Names(recorder, chosen, real)
    shown = tuple(
        Shown(layer, sums.get(layer.name), naming.sources(sums.get(layer.name)), layer.name in flat) for layer in chosen
    )
    reading = reader_of(model, x).settle(output)
    predictions = features.predictions
    classes: tuple[Class, ...] = ()
    if reading.kind not in ("none", "boxes"):
        classes = _classes(net, x, reading, output, [layer.name for layer in features.layers], shown)
        classes = tuple(_with_terms(one, recorder, second, last, chosen) for one in classes)
    return Look(features, predictions, shown, classes)


def _known(model: Model | nn.Module) -> Model:
    assert isinstance(model, Model)
    return model


def _not_exact(model: Model | nn.Module, layers: Patterns | None) -> Patterns | None:
    """A layer that is named and has no maps is shown as bars: it is asked for by a pattern, which may pick any."""
    if layers is None:
        return None
    named = named_layers(unwrap(model))
    return [f"re:^{re.escape(word)}$" if word and word in named else word for word in as_words(named, layers)]


def _column(tensor: Tensor) -> Tensor | None:
    """A layer's numbers without places, (C, 1, 1); None if they have some."""
    return tensor.float().cpu().reshape(-1, 1, 1) if tensor.dim() >= 2 and tensor.numel() == tensor.shape[1] else None


def _statistics(column: Tensor) -> ChannelStatistics:
    return channel_statistics(column[None])[0]


class _Names:
    """What the results of steps are called: the photo, a layer, or an operation in one."""

    def __init__(self, recorder: Recorder, chosen: Sequence[LayerMaps], outputs: Mapping[str, int]) -> None:
        self._steps = recorder.steps
        self._chosen = chosen
        self._made: dict[int, str] = {}
        for name, step in outputs.items():  # in order of their end: the outermost layer has the last word
            if name:
                self._made[step] = name

    def sources(self, total: Sum | None) -> dict[int, tuple[str, int | None]]:
        if total is None:
            return {}
        found = {product.source: self._of(product.source, product.given) for product in total.products}
        for operand in total.operands:
            if operand.source is not None:
                found[operand.source] = self._of(operand.source, operand.maps)
        return found

    def _of(self, step: int, maps: Tensor) -> tuple[str, int | None]:
        values = maps.numpy()
        for place, layer in enumerate(self._chosen):
            if layer.maps.shape == values.shape and np.array_equal(layer.maps, values):
                return layer.name, place
        while step and step not in self._made and len(self._steps[step].sources) == 1:
            if self._steps[step].name in ("relu", "relu_", "pad", "max_pool2d"):
                break
            step = self._steps[step].sources[0]
        if step == 0:
            return "the input", None
        return self._made.get(step) or self._steps[step].name.strip("_") or "an operation", None


def _classes(
    net: nn.Module, x: Tensor, reading: Reading, output: object, layers: Sequence[str], shown: Sequence[Shown]
) -> tuple[Class, ...]:
    confidences = reading.confidences(output).detach()[0]
    if not confidences.isfinite().all():
        return ()
    numbers, indices = confidences.topk(min(CLASSES, len(confidences)))
    with evaluating(net), torch.inference_mode(False), torch.enable_grad():
        run = TailPass(net, x, list(layers)) if layers else None
        found = []
        for rank, (number, index) in enumerate(zip(numbers.tolist(), indices.tolist(), strict=True)):
            cams: dict[str, npt.NDArray[np.float32]] = {}
            shares: dict[str, npt.NDArray[np.float32]] = {}
            score = float(reading.scores(output)[0, index])
            if run is not None:
                scores = reading.scores(run.output)[:, index]
                try:
                    gradients = run.gradients(scores, last=rank == len(indices) - 1)
                except NoGradientError:  # the classes stand without their maps
                    gradients = {}
                for name, own in gradients.items():
                    activation = run.as_maps(name, run.activations[name]).float()
                    gradient = run.as_maps(name, own).float()
                    cam = (gradient.mean((2, 3), keepdim=True) * activation).sum(1).relu()[0]
                    cams[name] = cam.detach().cpu().numpy()
                    shares[name] = (gradient * activation).sum((2, 3))[0].detach().cpu().numpy()
            found.append(
                Class(
                    reading.name(index),
                    number,
                    index,
                    [cams.get(each.of.name) for each in shown],
                    [shares.get(each.of.name) for each in shown],
                    score,
                )
            )
    return tuple(found)


def _with_terms(
    one: Class, recorder: Recorder, second: Recorder, last: Path | None, chosen: Sequence[LayerMaps]
) -> Class:
    """The class with the terms of its score, where a linear layer puts it out."""
    if last is None or last.activation or last.start != last.end:
        return one
    step = recorder.steps[last.start]
    if step.name != "linear" or len(step.shape) != 2 or len(step.sources) != 1:
        return one
    values = dict(zip(("input", "weight", "bias"), step.args, strict=False)) | dict(step.kwargs)
    weight, bias = values["weight"], values.get("bias")
    if not isinstance(weight, Tensor) or one.index >= len(weight):
        return one
    given = second.kept[step.sources[0]].float().cpu().numpy()[0]
    means = [layer.maps.mean((1, 2)) if len(layer.maps) == len(given) else None for layer in chosen]
    scale = float(np.abs(given).max(initial=0))
    same = [
        place
        for place, mean in enumerate(means)
        if mean is not None and np.abs(mean - given).max(initial=0) <= 1e-4 * scale
    ]
    return replace(
        one,
        bias=0.0 if bias is None else float(bias[one.index].detach()),
        weights=weight[one.index].detach().float().cpu().numpy(),
        given=given,
        from_layer=same[-1] if same else None,
    )
