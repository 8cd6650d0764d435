"""Measure what a unit is made of and what it does, by taking channels out and running only what follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from viztool.circuits.found import Guess
from viztool.circuits.icons import SHOWN, crops, with_optima
from viztool.circuits.knock import Doubles, Replace, check_replace, edges
from viztool.circuits.looking import Glance, Photos, glance, is_atlas, shots
from viztool.circuits.measure import Instead, Run, Unit
from viztool.circuits.result import Circuit
from viztool.errors import LayerError, SettingError, ViztoolError, check_seed
from viztool.hooks.evaluating import evaluating
from viztool.hooks.frozen import frozen
from viztool.hooks.naming import named_layers, unwrap
from viztool.hooks.select import Pattern, select
from viztool.inspect.nearest import nearest
from viztool.inspect.ranks import rank_correlation
from viztool.inspect.survey import OUTPUT, Site, survey
from viztool.kernels.expanded import Array, expanded_weights
from viztool.models.model import Model

_STEPS = 128
"""Of an ascent: enough for a picture as small as an icon."""


def circuit(
    model: Model | nn.Module,
    layer: Pattern,
    channel: int,
    photos: Photos,
    inputs: Pattern | None = None,
    outputs: Pattern | None = None,
    replace: Replace = "mean",
    *,
    top: int | None = None,
    kernels: bool = False,
    seed: int = 0,
    callback: Callable[[int, int], None] | None = None,
) -> Circuit:
    """What a unit is made of, and what it does for the rest: measured, by knocking out channels.

    photos: a folder, files, photos (H, W, 3), a tensor (N, C, H, W), which a bare network needs, or an atlas, of which
        the unit's top photos are taken. inputs: the earlier layer whose channels are knocked out one by one; by
        default the layer whose output this one begins with. outputs: the later layer in which it is measured what the
        unit does; by default the classes.
    replace: what a channel is replaced by, at all its positions. "mean", its mean over the photos (over the atlas's
        data where that has the layer); a class token's channel by that token's own mean over the photos. Where a layer
        has no ReLU, 0 is a value that what follows has never met, and the effect would be that of a shock. "zero"; or
        "resample", its values on another of the photos.
    top: measure only on so many photos, those that excite the unit most; by default on all that were given. Means are
        always over all. kernels: also draw what excites the unit and its strongest inputs and outputs most, by
        gradient ascent: seconds a channel. seed: of what is drawn by chance.
    callback: called with how many photos are done, of how many.

    An effect is the mean over photos of (before − after): of the unit's value at the place of its maximum on the photo
    as it is; of a later layer's units likewise; of the classes' scores. Positive means that it drives. Only what stands
    between the two layers runs, and of their maps only what the unit sees, where that gives the same.
    Raises LayerError for a layer or channel that does not fit.
    """
    check_seed(seed)
    check_replace(replace)
    net = unwrap(model)
    named = named_layers(net)
    name = _one(named, layer)
    with torch.inference_mode(False), torch.no_grad(), evaluating(net), frozen(net):
        given = shots(model, photos, (name, channel))
        first, _ = given[0].look()
        known = survey(net, first)
        unit = Unit(known.site(name), channel)
        source = nearest(net, first[:1], known, name) if inputs is None else known.site(_one(named, inputs))
        known.after(source, unit.site)
        later = None if outputs is None or _one(named, outputs) == OUTPUT else known.site(_one(named, outputs))
        if later is not None:
            known.after(unit.site, later)
        sites = [site for site in (source, unit.site, later) if site is not None]
        seen = glance(net, given, {site.name: site for site in sites})
        chosen = _strongest(seen, unit, top)
        if replace == "resample" and len(chosen.shots) < 2:
            raise SettingError("replace='resample' takes a channel from another photo; give at least two")
        run = Run(
            net, model, known, chosen, Instead(replace, _means(photos, seen, sites), _others(seen), seed), callback
        )
        single, gradients, values = run.inputs(source, unit)
        order = [edge.channel for edge in edges(single)]
        together = run.together(source, unit, order, single)
        effects, reading = run.outputs(unit, later)
        weights = _weights(net, first, source, unit)
        found_inputs, found_outputs = edges(single), edges(effects)
        wanted = {
            source.name: [edge.channel for edge in found_inputs[:SHOWN]],
            name: [channel],
            **({} if later is None else {later.name: [edge.channel for edge in found_outputs[:SHOWN]]}),
        }
        icons = crops(seen, {site.name: site for site in sites}, wanted)
    if kernels and isinstance(model, Model):
        icons = with_optima(icons, model, _STEPS, seed)
    means = single.mean(0)
    guesses = [Guess("gradient × change", rank_correlation(means, gradients.mean(0)), "with its sign")]
    if weights is not None:
        lengths = np.sqrt(np.square(weights, dtype=np.float64).sum((1, 2)))
        guesses.append(Guess("length of the kernel", rank_correlation(np.abs(means), lengths), "its size alone"))
    return Circuit(
        network=model.name if isinstance(model, Model) else type(net).__name__,
        weights_of=model.weights if isinstance(model, Model) else "as given",
        layer=name,
        channel=channel,
        inputs_layer=source.name,
        outputs_layer=OUTPUT if later is None else later.name,
        replace=replace,
        seed=seed,
        inputs=found_inputs,
        outputs=found_outputs,
        together=together,
        guesses=tuple(guesses),
        kernels=weights,
        value=float(values.mean()),
        photos=tuple(shot.name for shot in chosen.shots),
        of=len(seen.shots),
        windowed=run.windowed,
        names=reading.names if reading is not None else None,
        failed=tuple(seen.failed),
        icons=icons,
        rows={"inputs": single, "outputs": effects},
    )


def _one(named: Mapping[str, nn.Module], pattern: Pattern) -> str:
    picked = select(dict(named), pattern)
    if len(picked) > 1:
        raise LayerError(f"{pattern!r} picks {len(picked)} layers, {picked[0]!r} and others; name one")
    return picked[0]


def _strongest(seen: Glance, unit: Unit, top: int | None) -> Glance:
    if top is not None and top < 1:
        raise SettingError(f"top is {top}; give at least 1")
    order = np.argsort(-seen.highest[unit.site.name][:, unit.channel], kind="stable")
    return seen.of(order[:top].tolist())


def _means(photos: Photos, seen: Glance, sites: Sequence[Site]) -> dict[str, Doubles]:
    """Of each channel over the data: the atlas's, where the photos are its best ones, else the photos' own."""
    found = {site.name: seen.means[site.name].mean(0) for site in sites}
    if is_atlas(photos):
        found |= {name: photos[name].unit_numbers["mean_mean"] for name in found if name in photos.layers}
    return found


def _others(seen: Glance) -> dict[str, Doubles]:
    """Of each channel in each token that is no place, over the photos: (C, t)."""
    return {name: values.mean(0) for name, values in seen.others.items()}


def _weights(net: nn.Module, x: Tensor, source: Site, unit: Unit) -> Array | None:
    try:
        found: Array = expanded_weights(net, x[:1], source, unit.site, [unit.channel])[0]
    except ViztoolError:
        return None
    return found
