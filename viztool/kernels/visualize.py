"""From a network and a layer to what its units look for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy.typing as npt
from torch import Tensor, nn

from viztool.errors import LayerError
from viztool.hooks.naming import named_layers, unwrap
from viztool.hooks.select import Pattern
from viztool.images import find_images
from viztool.inspect.stage import stages_of
from viztool.kernels.examine import Examiner, natural
from viztool.kernels.expanded import Expanded, expanded_of
from viztool.kernels.main_path import maker_of
from viztool.kernels.objectives import OUTPUT
from viztool.kernels.photos import Kind, Photo, PhotoActivity, watch_photos
from viztool.kernels.presets import preset_of
from viztool.kernels.recipe import Recipe, kinds_of
from viztool.kernels.result import KernelPictures, KernelSheet
from viztool.kernels.single import CANVAS, for_single_unit
from viztool.kernels.task import Run, Task
from viztool.kernels.tiles import Drawn
from viztool.kernels.trust import Guide
from viztool.kernels.units import channels_of, classes_of, directions_of, one_layer, picture_size
from viztool.kernels.weights import KernelWeights, weights_of
from viztool.models.model import Model, wrap_model

_PLAIN_FILTERS = (
    "These are plain filters of the picture: the spatial mean of one asks for a colour and a frame, for no pattern. "
    "Without a size of the picture each unit is drawn by itself."
)
_OWN_KERNEL = (
    "A unit of this layer is one linear filter of the {}: of pictures as strong, none excites it more than that "
    "filter. It is drawn as a picture, grey where a weight is 0."
)
_USUAL, _ALONE = Recipe(), Run()


@dataclass(frozen=True)
class Beside:
    """Photos to stand beside the pictures: a folder, files, or photos.

    keep: how many of them for each channel. spread: also the least, and random ones. check: compare the path of each
    optimum through the network with those of its top photos, see `viztool.kernels.trust`.
    """

    photos: str | Path | Sequence[Photo]
    keep: int = 4
    spread: bool = False
    check: bool = False

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Which there are, as rows of a card."""
        return ("top", "least", "random") if self.spread else ("top",)

    @property
    def source(self) -> str:
        """Where they are from, in words."""
        return str(self.photos) if isinstance(self.photos, str | Path) else f"{len(self.photos)} photos"

    def found(self) -> Sequence[Photo]:
        """Each of them."""
        return list(find_images([self.photos])) if isinstance(self.photos, str | Path) else self.photos


def visualize_kernels(
    model: Model | nn.Module,
    layer: Pattern | None = None,
    channels: Sequence[int] | None = None,
    steps: int | None = None,
    size: int | tuple[int, int] | None = None,
    seed: int = 0,
    *,
    targets: Sequence[int | str] | None = None,
    neuron: bool = False,
    directions: npt.ArrayLike | Tensor | None = None,
    negative: bool | None = None,
    photos: str | Path | Sequence[Photo] | Beside | None = None,
    recipe: Recipe = _USUAL,
    judge: Model | None = None,
    run: Run = _ALONE,
) -> KernelSheet:
    """What some channels of a layer look for: raw weights, the picture that excites each most, and photos that do.

    layer: one layer, as in `capture`. channels: by default the eight that stand out most, (max − mean) / sd of their
        spatial mean over the photos, or over noise with the spectrum of photos if there are none.
    targets: classes, by index or name, in place of a layer and its channels.
    neuron: draw one unit of each channel, in the middle of its map, in place of the channel's mean.
    directions: in the layer's channels, (C,) or (n, C), in place of channels.
    steps, size, seed: of the ascent. steps: by default 128 to 384, see `viztool.kernels.presets`. size: in pixels of
        the network's input; by default 128, and the size of its photos for classes, which it knows by that, and for a
        network that takes no other. Where units see 16 pixels or less, as those of a first layer do, one unit is drawn
        by default, as what it sees; if it is one linear filter, as that.
    negative: also draw what excites each least; by default for channels and not for classes.
    photos: a folder, files, or photos; they stand beside the pictures, and say how large an activation is in nature.
        `Beside` says how many of them, and which.
    recipe: what pictures are made from, and under which transforms.
    judge: a second network with the same classes, whose probability of each class is told.
    run: who looks on, and where finished pictures are kept for another run of the same.

    Activations are those of the pictures as they are, not transformed, and spatial means. The network is left as it
    was. Ctrl-C ends the ascent; what is finished is returned, if anything is.
    Raises LayerError, TargetError and ModelError for a layer, a channel, a class or a size that does not fit.
    """
    known = model if isinstance(model, Model) else wrap_model(model)
    if (layer is None) == (targets is None):
        raise LayerError("name either a layer, or targets (classes)")
    name = OUTPUT if layer is None else one_layer(known, layer)
    sides = picture_size(known, name, size)
    beside = Beside(photos) if photos is not None and not isinstance(photos, Beside) else photos
    activity = None
    if directions is not None and (channels is not None or targets is not None or neuron or beside is not None):
        raise LayerError("directions go without channels, targets, neuron and photos")
    if beside is not None:
        activity = watch_photos(known, name, beside.found(), keep=beside.keep, seed=seed, callback=run.photo_callback)
    preset = None
    if targets is not None:
        units = classes_of(known, targets, sides)
    elif directions is not None:
        units = directions_of(known, name, directions, sides)
    else:
        units = channels_of(known, name, channels, sides, activity, seed)
        if size is None and recipe.transforms is None:
            preset = for_single_unit(known, name)
        if neuron or preset is not None:
            units = replace(units, kind="neuron")
    if preset is not None:
        sides = CANVAS
    both = (targets is None) if negative is None else negative
    task = Task(known, units, recipe.settings(steps, sides, preset or preset_of(known, [name], sides)), both, seed)
    examiner = Examiner(task, activity, judge, own_kernels=recipe == _USUAL)
    kernels = _drawn(task, examiner, beside, activity, run)
    return _sheet(task, kernels, beside, activity)


def _drawn(
    task: Task, examiner: Examiner, beside: Beside | None, activity: PhotoActivity | None, run: Run
) -> tuple[KernelPictures, ...]:
    """All units of the task, or those that were finished when it was interrupted."""
    maker = None
    if task.units.kind != "direction":
        maker = maker_of(task.model, task.units.layer, task.units.width, task.settings.size)
    expanded = None if maker is None else _expanded(task, maker)
    checked = beside is not None and beside.check and task.settings.window is None and bool(task.units.layer)
    guide = Guide(task.model, task.units.layer) if checked else None
    kernels = []
    for first, optima in task.parts(run):
        for offset in range(len(optima) // task.signs):
            pictures = examiner.drawn(first + offset, optima, offset * task.signs)
            weights = None if maker is None else weights_of(task.model, maker, task.units.indices[first + offset])
            if weights is not None and expanded is not None:
                weights = replace(weights, expanded=expanded[first + offset])
            drawn = _pictures(task, first + offset, weights, pictures, beside, activity)
            kernels.append(drawn if guide is None or activity is None else _checked(drawn, guide, activity, task.seed))
    if not kernels:
        raise KeyboardInterrupt
    return tuple(kernels)


def _checked(drawn: KernelPictures, guide: Guide, activity: PhotoActivity, seed: int) -> KernelPictures:
    if drawn.optimum.status:
        return drawn
    return replace(drawn, paths=guide.compare(drawn.optimum.pixels, activity.views(drawn.unit), seed))


def _expanded(task: Task, maker: str) -> list[Expanded] | None:
    """Of single weights, the kernels to each unit from the layer that its own begins with."""
    if weights_of(task.model, maker, 0).values[0].size > 1:
        return None
    return expanded_of(task.model, task.units.layer or maker, task.units.indices)


def _pictures(
    task: Task,
    index: int,
    weights: KernelWeights | None,
    pictures: Sequence[Drawn],
    beside: Beside | None,
    activity: PhotoActivity | None,
) -> KernelPictures:
    unit = task.units.indices[index]
    excerpts, figures = {}, {}
    if beside is not None and activity is not None:
        excerpts = {kind: activity.excerpts(unit, kind) for kind in beside.kinds}
        figures = natural(activity, unit)
    return KernelPictures(
        unit=unit,
        label=task.units.labels[index],
        weights=weights,
        optimum=pictures[0],
        negative=pictures[1] if len(pictures) > 1 else None,
        excerpts=excerpts,
        natural=figures,
    )


def _sheet(
    task: Task, kernels: tuple[KernelPictures, ...], beside: Beside | None, activity: PhotoActivity | None
) -> KernelSheet:
    model, units, settings = task.model, task.units, task.settings
    kind, (h, w) = settings.parameterization, settings.size
    kinds = kinds_of(settings.transforms)
    transforms = f"random {', '.join(kinds)}" if kinds else "no transforms"
    notes = [f"Gradient ascent: {settings.steps} steps at {h} × {w}, {kind.name}, {transforms}."]
    seen = ""
    if settings.window is not None:
        seen = " × ".join(str(side.stop - side.start) for side in settings.window) + " pixels that it sees"
        notes = [f"{notes[0][:-1]}; of one unit of each channel, in the middle of its map, the {seen}."]
    elif units.kind == "neuron":
        notes = [f"{notes[0][:-1]}; of one unit of each channel, in the middle of its map."]
    if kernels[0].optimum.is_kernel:
        notes = [_OWN_KERNEL.format(seen)]
    if beside is not None and activity is not None:
        notes.append(_photo_note(beside, activity))
    if units.kind == "channel" and any(kernel.weights is not None and kernel.weights.is_first for kernel in kernels):
        notes.append(_PLAIN_FILTERS)
    return KernelSheet(
        network=model.name,
        weights=model.weights,
        layer=units.layer,
        kind=type(named_layers(unwrap(model.net))[units.layer]).__name__,
        width=units.width,
        chosen=units.chosen,
        settings={
            "steps": settings.steps,
            "size": [h, w],
            "window": None if settings.window is None else [side.stop - side.start for side in settings.window],
            "seed": task.seed,
            "parameterization": kind.name,
            "rate": kind.rate,
            "transforms": repr(settings.transforms),
            "climbed": _CLIMBED[units.kind],
            "input": "mean and std assumed" if model.input.assumed else model.preprocessing,
        },
        kernels=kernels,
        source="" if beside is None else beside.source,
        notes=tuple(notes),
        asked=units.indices,
        stage=stages_of(model).get(units.layer),
    )


_CLIMBED = {"channel": "spatial mean", "neuron": "middle unit", "direction": "spatial mean along a direction"}


def _photo_note(beside: Beside, activity: PhotoActivity) -> str:
    where = f" in {Path(beside.photos).name}" if isinstance(beside.photos, str | Path) else ""
    skipped = f", {len(activity.failed)} could not be read" if activity.failed else ""
    field = "the whole picture" if activity.field is None or activity.field.everything else "a unit's receptive field"
    return (
        f"Photos: the best of {len(activity.sources)}{where}{skipped}, cut at {field}; under each the unit's own value."
    )
