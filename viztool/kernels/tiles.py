"""A picture of a sheet of kernels and the lines below it: an optimum, weights, a path through the network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from viztool.kernels.trust import Paths
from viztool.kernels.weights import KernelWeights
from viztool.render.colormaps import Picture
from viztool.render.kernel_sheet import (
    Picked,
    draw_color_kernel,
    draw_paths,
    draw_slices,
)
from viztool.render.numbers import number, percent
from viztool.results import Part

_SLICES, _PICTURES = 16, 9


@dataclass(frozen=True, eq=False, repr=False)
class Drawn(Part):
    """One picture. pixels: uint8 (h, w, 3). alpha: (h, w), uint8, where the ascent worked most.

    status: "" or why there is nothing to see. numbers: its checks. steps: that it took. is_kernel: it is no result
    of the ascent but the unit's own filter.
    """

    pixels: Picture
    alpha: npt.NDArray[np.uint8]
    status: str
    steps: int
    numbers: Mapping[str, float | None]
    is_kernel: bool = False


def drawn_tile(drawn: Drawn, natural: Mapping[str, float]) -> Picked:
    if drawn.status and drawn.status != "interrupted":
        return Picked(None, mark=drawn.status)
    numbers = drawn.numbers
    activation = short(numbers["activation"])
    ratio = numbers.get("to photos' max")
    first = f"activation {activation}" if ratio is None else f"{activation} = {number(ratio, '.2g')} × photos' max"
    robust = "" if numbers["robustness"] is None else f"robust {short(numbers['robustness'], '.2g')} · "
    lines = [first]
    if numbers["high frequencies"] is not None:
        lines.append(f"{robust}high {short(numbers['high frequencies'], '.2g')}")
    judged = numbers.get("judged")
    if judged is not None:
        lines.append(f"second network: {percent(judged)}")
    if drawn.status:
        lines.append(f"{drawn.status} after {drawn.steps} steps")
    return Picked(drawn.pixels, lines, cells=drawn.numbers["high frequencies"] is None)


def weights_tile(weights: KernelWeights, rank: int | None) -> Picked:
    total, kh, kw = weights.values.shape
    if not np.isfinite(weights.values).all():
        return Picked(None, [weights.layer], mark="not finite")
    if weights.vanishes:
        return Picked(
            None, [weights.layer, f"norm {short(weights.norm)}, usual {short(weights.usual)}"], mark="nearly zero"
        )
    size = f"{kh} × {kw}"
    norm = f"norm {short(weights.norm)}"
    if weights.sees_colors and rank is None:
        return Picked(draw_color_kernel(weights.on_colors), [f"red, green, blue {size}", norm], cells=True)
    if kh * kw == 1:
        return _expanded_tile(weights)
    if rank is not None:
        patterns, shares = weights.patterns(rank)
        said = ", ".join(percent(share) for share in shares[:4])
        return Picked(draw_slices(patterns), [f"patterns: {said}", f"{total} × {size} · {norm}"], cells=True)
    strongest = weights.strongest(_SLICES)
    count = (
        f"{len(strongest)} of {total} slices"
        if len(strongest) < total
        else f"{total} slices"
        if total > 1
        else "1 slice"
    )
    lines = [f"{count} {size}", f"{norm}, longest {short(weights.norms[strongest[0]])} (#{strongest[0]})"]
    return Picked(draw_slices(weights.values[strongest]), lines, cells=True)


def path_words(paths: Paths) -> str:
    return f"path {short(paths.likeness, '.2f')} (noise 0, photos 1)"


def paths_tile(paths: Paths) -> Picked:
    curves = [("photos, dark", paths.photos), ("optimum, red", paths.optimum), ("noise, light", paths.noise)]
    lines = [f"{name}: {short(float(values.mean()), '.2f')} with photos" for name, values in curves]
    return Picked(draw_paths([values for _, values in curves]), lines)


def _expanded_tile(weights: KernelWeights) -> Picked:
    """Of single weights: kernels from the layer before, as a square of numbers says nothing of where."""
    expanded = weights.expanded
    if expanded is None:
        return Picked(None, [f"{len(weights.values)} weights", f"norm {short(weights.norm)}"], mark="1 × 1")
    strongest = expanded.strongest(_PICTURES)
    kh, kw = expanded.values.shape[1:]
    if kh * kw == 1:
        inputs = f"from {expanded.source}: {', '.join(map(str, strongest[:4]))}"
        return Picked(None, [inputs, "the strongest single weights"], mark="1 × 1")
    columns = math.ceil(math.sqrt(len(strongest)))  # as the pictures stand
    rows = [" ".join(map(str, strongest[at : at + columns])) for at in range(0, len(strongest), columns)]
    lines = [f"{kh} × {kw}, linear parts, {expanded.source}", " / ".join(rows)]
    return Picked(draw_slices(expanded.values[strongest]), lines, cells=True)


def short(value: float | None, form: str = ".3g") -> str:
    return "–" if value is None or not np.isfinite(value) else number(value, form)
