"""The part of each map that one unit is made from: all that has to be computed on the way to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from viztool.hooks.naming import layers_inside
from viztool.inspect.lattice import Lattice, Whole
from viztool.inspect.survey import Site, Survey, inside


@dataclass(frozen=True)
class Window:
    """A part of a layer's whole map, along rows and columns: the first unit, and one past the last.

    steps: units of this layer on one of the layer that is asked for.
    """

    first: tuple[int, int]
    end: tuple[int, int]
    steps: tuple[int, int]


def trunk(named: Mapping[str, nn.Module], survey: Survey, source: Site, target: Site) -> list[Site]:
    """Layers between two, one after the other: the outermost that run between them, and the members of sequences.

    That all goes through each of them is likely and not sure: who cuts their maps compares the outcome.
    """
    found: list[Site] = []

    def walk(name: str, module: nn.Module) -> None:
        for child, layer in layers_inside(module):
            path = f"{name}.{child}" if name else child
            if path not in survey.runs:
                continue
            begins, ends = survey.runs[path]
            between = begins > source.ends and ends < target.ends
            holds = inside(path, [source.name, target.name]) and path != source.name
            if (holds and path != target.name) or (isinstance(layer, nn.Sequential) and (between or holds)):
                walk(path, layer)
            elif between and path in survey.sites and survey.sites[path].calls == 1:
                found.append(survey.sites[path])

    walk("", named[""])
    return sorted(found, key=lambda site: site.ends)


def windows(sites: list[Site], target: Site, place: tuple[int, int]) -> dict[str, Window]:
    """Of each layer, by name, the units that the one at this place of `target` is made from, where that is known.

    They begin at a multiple of the steps that are still to come, and as many are left out at the end: so the layers
    behind meet the same units as on the whole map. Layers of which all is needed are left out.
    """
    if target.field is None or target.field.global_context or not target.is_plain:
        return {}
    found: dict[str, Window] = {}
    for site in sites:
        if site.field is None or site.field.global_context or not site.is_plain:
            continue
        pairs = list(zip(site.field.axes, target.field.axes, site.shape[1:], place, strict=False))
        sides = [_side(*pair) for pair in pairs if isinstance(pair[0], Lattice)]
        if len(sides) == 2 and sides[0] is not None and sides[1] is not None:
            first, end, steps = zip(*sides, strict=True)
            if (first, end) != ((0, 0), site.shape[1:]):
                found[site.name] = Window(first, end, steps)
    return found


def _side(own: Lattice | Whole, last: Lattice | Whole, extent: int, at: int) -> tuple[int, int, int] | None:
    if not isinstance(own, Lattice) or not isinstance(last, Lattice):
        return None
    step = last.stride / own.stride
    first, end = last.span(at)
    units = [unit for unit in range(extent) if own.span(unit)[0] >= first and own.span(unit)[1] <= end]
    if step.denominator != 1 or not units:
        return None
    ratio = int(step)
    return units[0] // ratio * ratio, extent - (extent - units[-1] - 1) // ratio * ratio, ratio
