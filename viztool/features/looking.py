"""Look at photo after photo with one network: what is found out of it once is used for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, get_args

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
from viztool.hooks.select import STAGES, Patterns, as_words, exactly
from viztool.hooks.stages import having_maps
from viztool.hooks.tail import as_real
from viztool.hooks.watch import watch
from viztool.inspect.receptive_field import ReceptiveField
from viztool.inspect.stage import Stage, staging
from viztool.inspect.trace import FieldTracer
from viztool.models.model import Model
from viztool.models.subject import Subject, looks_at, reader_of
from viztool.render.colormaps import Picture
from viztool.results import Results
from viztool.tensors.tree import tensors_in

Course = list[tuple[str, tuple[int, ...] | None]]
"""The layers with weights that ran, in order, and the shape of what each put out, of one that put out a tensor."""


@dataclass(frozen=True)
class _Plan:
    """What a first look at an input of some size has found out, and the course that the network took then."""

    layers: tuple[str, ...]
    fields: Mapping[str, ReceptiveField | None]
    stages: Mapping[str, Stage]
    course: Course


class FeatureLook:
    """The maps of a network's layers, of one photo after another. The options are those of `feature_maps`.

    Which layers are the stages, and what the units of a layer see, is followed through the first forward of each size
    of input. From then on the network runs with hooks at those layers, and is followed anew only where it takes another
    course. The network must not be changed meanwhile.
    """

    def __init__(
        self,
        model: Model | nn.Module,
        layers: Patterns | None = None,
        top: int | None = 16,
        *,
        normalize: Normalize = "channel",
        overlay: bool = False,
    ) -> None:
        if top is not None and (not isinstance(top, int) or top < 1):
            raise LayerError(f"top is {top}; draw at least one channel, or all with top=None")
        if normalize not in get_args(Normalize):
            raise LayerError(f"normalize is {normalize!r}; it is one of {', '.join(get_args(Normalize))}")
        self._model, self._top = model, top
        self._normalize: Normalize = normalize
        self._overlay = overlay
        self._net = unwrap(model)
        self._named = named_layers(self._net)
        self._patterns = [STAGES] if layers is None else as_words(self._named, layers)
        self._plans: dict[tuple[int, ...], _Plan] = {}

    def at(self, photo: Picture | Sequence[Picture] | Tensor, source: str = "photo") -> Results[FeatureMaps]:
        """One result for each image."""
        looks, _ = looks_at(self._model, photo, source)
        return Results(result for x, subjects in looks for result in self._look(x, subjects))

    def _look(self, x: Tensor, subjects: Sequence[Subject]) -> list[FeatureMaps]:
        """The results for a batch."""
        plan = self._plans.get(tuple(x.shape))
        with evaluating(self._net), torch.no_grad():
            found = None if plan is None else self._as_planned(plan, x)
            acts, layouts, output, plan = found or self._followed(x)
        kept = {name: _maps(name, acts, layouts) for name in acts}
        without = tuple(name for name, maps in kept.items() if maps is None)
        refused = [name for name in without if name in self._patterns]
        if refused or len(without) == len(kept):
            raise LayerError(
                f"layer {(refused or without)[0]!r} puts out no maps (channels of height × width); "
                "choose a layer before the network flattens them"
            )
        layers = [
            _layer_maps(name, kind_of(self._named[name]), maps, self._top, plan, len(acts.calls(name)))
            for name, maps in kept.items()
            if maps is not None
        ]
        predictions = reader_of(self._model, x).says(output, len(subjects))
        return [
            FeatureMaps(
                subject,
                predictions[index],
                tuple(each[index] for each in layers),
                without,
                self._normalize,
                self._overlay,
            )
            for index, subject in enumerate(subjects)
        ]

    def _as_planned(self, plan: _Plan, x: Tensor) -> _Found | None:
        """One forward with hooks at the planned layers; None if it took another course."""
        try:
            with (
                self._noting_the_course() as course,
                following(self._net, x) as layouts,
                capture(self._net, exactly(plan.layers)) as acts,
            ):
                output = _run(self._net, x)
        except LayerError:  # one of them never ran
            return None
        return (acts, layouts, output, plan) if course == plan.course else None

    def _followed(self, x: Tensor) -> _Found:
        """One forward that finds the layers and traces what their units see; the next ones go by its plan."""
        fields: dict[str, ReceptiveField | None] = {}

        def note_field(name: str, module: nn.Module, output: Any) -> None:
            if isinstance(output, Tensor):
                fields[name] = tracer.of(output)

        with (
            FieldTracer(self._net, x) as tracer,
            watch(self._named, exit=note_field),
            self._noting_the_course() as course,
            following(self._net, x) as layouts,
            staging(self._net, layouts) as stages,
            having_maps() if self._patterns == [STAGES] else nullcontext(),
            capture(self._net, self._patterns) as acts,
        ):
            output = _run(self._net, x)
        fields = {name: fields.get(name) for name in acts}
        plan = self._plans[tuple(x.shape)] = _Plan(tuple(acts), fields, stages, course)
        return acts, layouts, output, plan

    @contextmanager
    def _noting_the_course(self) -> Iterator[Course]:
        course: Course = []

        def note(name: str, module: nn.Module, output: Any) -> None:
            course.append((name, tuple(output.shape) if isinstance(output, Tensor) else None))

        # Those with weights will do: what runs between them is in the shapes of what they put out.
        with watch({name: layer for name, layer in self._named.items() if layer._parameters}, exit=note):
            yield course


_Found = tuple[Activations, Layouts, Any, _Plan]


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


def _layer_maps(name: str, kind: str, maps: Tensor, top: int | None, plan: _Plan, calls: int) -> list[LayerMaps]:
    """The layer's maps for each image of the batch, ranked where they were computed."""
    arrays, field, stage = maps.cpu().numpy(), plan.fields.get(name), plan.stages.get(name)
    return [
        LayerMaps(name, kind, array, statistics, tuple(statistics.ranked()[:top].tolist()), field, calls, stage)
        for array, statistics in zip(arrays, channel_statistics(maps), strict=True)
    ]
