"""From a network and a layer to what its units look for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from viztool.errors import LayerError, ViztoolError
from viztool.hooks.naming import named_layers, unwrap
from viztool.hooks.select import Pattern
from viztool.images import find_images
from viztool.kernels.ascent import INTERRUPTED, SILENT, Callback, Optima, Progress, Settings
from viztool.kernels.checks import high_frequency_fraction, judged, robustness
from viztool.kernels.loop import ascend, default_transforms
from viztool.kernels.main_path import maker_of
from viztool.kernels.network import Stopped
from viztool.kernels.objectives import OUTPUT, Objective, channel, logit
from viztool.kernels.parameterizations import MACO, PARAMETERIZATIONS, Parameterization
from viztool.kernels.photos import Kind, Photo, PhotoActivity, selectivity, watch_photos
from viztool.kernels.pixels import opacity, to_pixels
from viztool.kernels.result import Drawn, KernelPictures, KernelSheet
from viztool.kernels.transforms import Transforms, crop, noise, pad
from viztool.kernels.units import Units, channels_of, classes_of, one_layer, picture_size
from viztool.kernels.weights import weights_of
from viztool.models.model import Model, wrap_model
from viztool.models.repeated import at_once

_NOTHING = 1e-5
_TRANSFORMS = {
    "pad": "shifts",
    "jitter": "shifts",
    "scale": "zooms",
    "rotate": "turns",
    "crop": "crops",
    "noise": "noise",
}


_PLAIN_FILTERS = (
    "These are plain filters of the picture: the spatial mean of one asks for a colour and a frame, for no pattern. "
    "For patterns name the layer behind the next activation function."
)


class Store(Protocol):
    """Where finished optima are put, so that a later run need not find them again."""

    def load(self, part: int) -> Optima | None:
        """The optima of this part, or None."""

    def save(self, part: int, optima: Optima) -> None:
        """Keep them."""


def visualize_kernels(
    model: Model | nn.Module,
    layer: Pattern | None = None,
    channels: Sequence[int] | None = None,
    steps: int = 256,
    size: int | tuple[int, int] | None = None,
    seed: int = 0,
    *,
    targets: Sequence[int | str] | None = None,
    photos: str | Path | Sequence[Photo] | None = None,
    keep: int = 4,
    spread: bool = False,
    negative: bool | None = None,
    parameterization: str | Parameterization = "fourier",
    transforms: Transforms | None = None,
    without: Sequence[str] = (),
    redirect: int = 16,
    rank: int | None = None,
    judge: Model | None = None,
    store: Store | None = None,
    callback: Callback | None = None,
    photo_callback: Callable[[int], None] | None = None,
) -> KernelSheet:
    """What some channels of a layer look for: raw weights, the picture that excites each most, and photos that do.

    layer: one layer, as in `capture`. channels: by default the eight that stand out most, (max − mean) / sd of their
        spatial mean over the photos, or over noise with the spectrum of photos if there are none.
    targets: classes, by index or name, in place of a layer and its channels.
    steps, size, seed: of the ascent. size: in pixels of the network's input; by default 128, and the size of its photos
        for classes, which it knows by that, and for a network that takes no other.
    photos: a folder, files, or photos; they stand beside the pictures, and say how large an activation is in nature.
        keep: how many of them for each channel. spread: also the least, and random ones.
    negative: also draw what excites each least; by default for channels and not for classes.
    parameterization: pixels, fourier, maco, laplacian, cppn, or one of your own. transforms, redirect: as in
        `maximize`. without: which transforms to leave out, as the sheet calls them: shifts, zooms, turns, crops, noise.
    rank: draw so many singular patterns of the weights in place of their slices.
    judge: a second network with the same classes, whose probability of each class is told.
    store: keeps finished pictures for another run of the same. callback: called after each step;
        photo_callback: with the number of photos seen so far.

    Activations are those of the pictures as they are, not transformed, and spatial means. The network is left as it
    was. Ctrl-C ends the ascent; what is finished is returned, if anything is.
    Raises LayerError, TargetError and ModelError for a layer, a channel, a class or a size that does not fit.
    """
    known = model if isinstance(model, Model) else wrap_model(model)
    if (layer is None) == (targets is None):
        raise LayerError("name either a layer, or targets (classes)")
    name = OUTPUT if layer is None else one_layer(known, layer)
    sides = picture_size(known, name, size)
    activity = (
        None
        if photos is None
        else watch_photos(known, name, _photos(photos), keep=keep, seed=seed, callback=photo_callback)
    )
    units = (
        classes_of(known, targets, sides)
        if targets is not None
        else channels_of(known, name, channels, sides, activity, seed)
    )
    kind, settings = ascent_settings(parameterization, transforms, steps, sides, without)
    settings = replace(settings, redirect=redirect)
    both = (targets is None) if negative is None else negative

    network = Stopped(known, [name], sides)
    maker = maker_of(known, name, units.width, sides)
    kernels: list[KernelPictures] = []
    for first, optima in _parts(known, units, settings, both, seed, store, callback):
        signs = 2 if both else 1
        for offset in range(len(optima) // signs):
            index = first + offset
            drawn = _checked(network, known, units, index, optima, offset * signs, signs, seed, activity, judge)
            kernels.append(_pictures(known, units, index, maker, drawn, activity, spread))
    if not kernels:
        raise KeyboardInterrupt
    notes = [] if photos is None or activity is None else [_photo_note(photos, activity)]
    if any(kernel.weights is not None and kernel.weights.sees_colors for kernel in kernels):
        notes.append(_PLAIN_FILTERS)
    return KernelSheet(
        network=known.name,
        weights=known.weights,
        layer=name,
        kind=type(named_layers(unwrap(known.net))[name]).__name__,
        width=units.width,
        chosen=units.chosen,
        settings={
            "steps": steps,
            "size": list(sides),
            "seed": seed,
            "parameterization": kind.name,
            "rate": kind.rate,
            "transforms": repr(settings.transforms),
            "input": "mean and std assumed" if known.input.assumed else known.preprocessing,
        },
        kernels=tuple(kernels),
        source="" if photos is None else str(photos) if isinstance(photos, str | Path) else f"{len(photos)} photos",
        notes=(
            f"Gradient ascent: {steps} steps at {sides[0]} × {sides[1]}, {kind.name}, "
            f"{_in_words(settings.transforms)}.",
            *notes,
        ),
        rank=rank,
        asked=units.indices,
    )


def ascent_settings(
    parameterization: str | Parameterization,
    transforms: Transforms | None,
    steps: int,
    size: tuple[int, int],
    without: Sequence[str] = (),
) -> tuple[Parameterization, Settings]:
    """The parameterization of this name with the transforms that suit it, but for those left out."""
    if isinstance(parameterization, str):
        if parameterization not in PARAMETERIZATIONS:
            raise ViztoolError(
                f"no parameterization is called {parameterization!r}; there are {', '.join(PARAMETERIZATIONS)}"
            )
        kind = PARAMETERIZATIONS[parameterization]()
    else:
        kind = parameterization
    usual = Transforms(crop(0.5), noise(0.05)) if isinstance(kind, MACO) else default_transforms(size)
    views = 2 if isinstance(kind, MACO) else 1
    return kind, Settings(steps, size, kind, _left(usual if transforms is None else transforms, without), views=views)


def kinds_of(transforms: Transforms) -> list[str]:
    """What the transforms do, a word for each kind of them."""
    # A frame is there to be shifted about in.
    named = {_kind_of(step): None for step in transforms.steps if not isinstance(step, pad)}
    return list(named)


def _kind_of(step: object) -> str:
    return _TRANSFORMS.get(type(step).__name__, repr(step))


def _left(transforms: Transforms, without: Sequence[str]) -> Transforms:
    for kind in without:
        if kind not in kinds_of(transforms):
            raise ViztoolError(f"there are no {kind!r} to leave out; there are {', '.join(kinds_of(transforms))}")
    return Transforms(*(step for step in transforms.steps if _kind_of(step) not in without))


def _in_words(transforms: Transforms) -> str:
    kinds = kinds_of(transforms)
    return f"random {', '.join(kinds)}" if kinds else "no transforms"


def _photos(photos: str | Path | Sequence[Photo]) -> Sequence[Photo]:
    return list(find_images([photos])) if isinstance(photos, str | Path) else photos


def _photo_note(photos: str | Path | Sequence[Photo], activity: PhotoActivity) -> str:
    where = f" in {Path(photos).name}" if isinstance(photos, str | Path) else ""
    skipped = f", {len(activity.failed)} could not be read" if activity.failed else ""
    field = "the whole picture" if activity.field is None or activity.field.everything else "a unit's receptive field"
    return (
        f"Photos: the best of {len(activity.sources)}{where}{skipped}, cut at {field}; under each the unit's own value."
    )


def _parts(
    model: Model,
    units: Units,
    settings: Settings,
    both: bool,
    seed: int,
    store: Store | None,
    callback: Callback | None,
) -> Iterator[tuple[int, Optima]]:
    """The optima of a few units after another, with the number of the first of them; those of the store first."""
    objectives: list[Objective] = []
    keys: list[tuple[int, int]] = []
    signs = 2 if both else 1
    for index in units.indices:
        wanted = logit(index) if units.layer == OUTPUT else channel(units.layer, index)
        # By the unit's own number: its picture does not depend on which others are drawn.
        objectives += [wanted, -wanted][:signs]
        keys += [(seed, 2 * index), (seed, 2 * index + 1)][:signs]
    together = max(signs, at_once(model.device) // settings.views)
    first = part = 0
    while store is not None and first < len(objectives) and (found := store.load(part)) is not None:
        yield first // signs, found
        first, part = first + together, part + 1
    if first >= len(objectives):
        return
    shifted = None if callback is None else _shifted(callback, first, len(objectives))
    for optima in ascend(model, objectives[first:], settings, keys[first:], callback=shifted):
        if store is not None and INTERRUPTED not in optima.status:
            store.save(part, optima)
        yield first // signs, optima
        first, part = first + together, part + 1


def _shifted(callback: Callback, first: int, total: int) -> Callback:
    def shifted(progress: Progress) -> None:
        indices = range(progress.indices.start + first, progress.indices.stop + first)
        callback(replace(progress, indices=indices, total=total))

    return shifted


def _checked(
    network: Stopped,
    model: Model,
    units: Units,
    index: int,
    optima: Optima,
    first: int,
    signs: int,
    seed: int,
    activity: PhotoActivity | None,
    judge: Model | None,
) -> list[Drawn]:
    unit = units.indices[index]
    wanted = logit(unit) if units.layer == OUTPUT else channel(units.layer, unit)
    images = optima.images[first : first + signs]
    kept = robustness(model, [wanted, -wanted][:signs], images, seed=seed, network=network)
    high = high_frequency_fraction(images)
    natural = None if activity is None else _natural(activity, unit)
    moved = _moved(network, units.layer, unit, images)
    drawn = []
    for sign in range(signs):
        at = first + sign
        activation = float(optima.score[at]) * (-1 if sign else 1)
        numbers: dict[str, float | None] = {
            "activation": _finite(activation),
            "robustness": _finite(float(kept[sign])),
            "high frequencies": _finite(float(high[sign])),
        }
        if natural is not None:
            for key in ("mean", "p99", "max"):
                numbers[f"to photos' {key}"] = activation / natural[key] if natural[key] > 0 and not sign else None
        if judge is not None and units.layer == OUTPUT and not sign:
            numbers["judged"] = judged(judge, images[:1], unit)
        pixels, alpha = to_pixels(images[sign]), opacity(optima.alpha[at])
        status = optima.status[at] or ("" if moved[sign] else SILENT)
        drawn.append(Drawn(pixels, alpha, status, optima.steps[at], numbers))
    return drawn


def _moved(network: Stopped, layer: str, unit: int, images: Tensor) -> list[bool]:
    """Whether a picture made a difference to the unit at all, beside what the layer's others put out."""
    with torch.no_grad():
        shown = torch.cat([torch.full_like(images[:1], 0.5), images]).to(network.device)
        grey, *means = network(shown)[layer].float().mean((2, 3))
    return [not bool((mean[unit] - grey[unit]).abs() <= _NOTHING * mean.abs().max()) for mean in means]


def _finite(number: float) -> float | None:
    return number if np.isfinite(number) else None


def _natural(activity: PhotoActivity, unit: int) -> dict[str, float]:
    means = activity.means[:, unit].astype(np.float64)
    return {
        "z": float(selectivity(activity.means[:, unit : unit + 1])[0]),
        "mean": float(means.mean()),
        "p99": float(np.quantile(means, 0.99)),
        "max": float(means.max()),
    }


def _pictures(
    model: Model,
    units: Units,
    index: int,
    maker: str | None,
    drawn: list[Drawn],
    activity: PhotoActivity | None,
    spread: bool,
) -> KernelPictures:
    unit = units.indices[index]
    kinds: tuple[Kind, ...] = ("top", "least", "random") if spread else ("top",)
    return KernelPictures(
        unit=unit,
        label=units.labels[index],
        weights=None if maker is None else weights_of(model.net, maker, unit),
        optimum=drawn[0],
        negative=drawn[1] if len(drawn) > 1 else None,
        excerpts={} if activity is None else {kind: activity.excerpts(unit, kind) for kind in kinds},
        natural={} if activity is None else _natural(activity, unit),
    )
