"""Several sheets in one picture: a band for each layer, or one unit drawn in several ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from viztool.errors import ViztoolError
from viztool.kernels.parameterizations import PARAMETERIZATIONS
from viztool.kernels.presets import Preset
from viztool.kernels.recipe import Recipe, kinds_of
from viztool.kernels.result import KernelPictures, KernelSheet, how_to_read
from viztool.kernels.tiles import Drawn, drawn_tile, short
from viztool.render.canvas import Canvas
from viztool.render.kernel_sheet import Card, KernelPage, Picked, kernel_page
from viztool.results import Result, made_by, versions

COMPARISONS = {
    "param": "The same units, made from other things",
    "transforms": "With each transform left out",
    "redirect": "Dead units, and what wakes them up",
}
"""What sets a unit beside itself, and the title of such a sheet."""


def variants(comparison: str, recipe: Recipe, preset: Preset) -> dict[str, Recipe]:
    """The ways to draw a unit that a comparison sets side by side, by name; all else is as the recipe has it.

    comparison: one of `COMPARISONS`. preset: of the units.
    """
    if comparison == "param":
        return {name: replace(recipe, parameterization=name) for name in PARAMETERIZATIONS}
    if comparison == "redirect":
        return {"plain gradients": replace(recipe, redirect=0), "redirected": recipe}
    if comparison != "transforms":
        raise ViztoolError(f"there is no comparison {comparison!r}; there are {', '.join(COMPARISONS)}")
    # Said, so that a channel that sees little is drawn by its mean: one unit of it has no transforms to leave out.
    usual = recipe.settings(1, (64, 64), preset).transforms
    recipe, kinds = replace(recipe, transforms=usual), kinds_of(usual)
    return {
        f"all: {', '.join(kinds)}": recipe,
        **{f"without {kind}": replace(recipe, without=(kind,)) for kind in kinds},
        "none": replace(recipe, without=tuple(kinds)),
    }


@dataclass(frozen=True, eq=False, repr=False)
class KernelBands(Result):
    """Sheets of the same network, by name. each: a band is a "layer", one sheet; or a "unit", one tile of every sheet.

    title: of the sheet.
    """

    sheets: Mapping[str, KernelSheet]
    each: Literal["layer", "unit"] = "layer"
    title: str = "What its layers look for"

    def drawing(self) -> Canvas:
        """The bands, one under another."""
        first = next(iter(self.sheets.values()))
        steps = first.settings["steps"]
        note = (
            "Gradient ascent: what excites each unit most. Where units see little, one is drawn, as what it sees."
            if self.each == "layer"
            else f"Gradient ascent, {steps} steps from the same seed; one thing differs."
        )
        return kernel_page(
            KernelPage(
                title=self.title,
                subtitle=f"{first.network} · {first.weights}",
                notes=[note, how_to_read(list(self.sheets.values()))],
                cards=[self._of_layer(sheet) for sheet in self.sheets.values()]
                if self.each == "layer"
                else [self._of_unit(index) for index in range(len(first))],
                footer=f"seed {first.settings['seed']} · {made_by()}",
            )
        )

    @property
    def numbers(self) -> dict[str, Any]:
        """Every figure that is drawn or claimed, ready for JSON: those of each sheet, by its name."""
        return {
            "each": self.each,
            "sheets": [{"name": name, **sheet.numbers} for name, sheet in self.sheets.items()],
            "versions": versions(),
        }

    @property
    def in_words(self) -> str:
        """How each sheet went."""
        return "\n".join(f"{name}: {sheet.in_words}" for name, sheet in self.sheets.items())

    @property
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Those of each sheet, such as "blocks.2/optimum"."""
        return {f"{name}/{key}": array for name, sheet in self.sheets.items() for key, array in sheet.arrays.items()}

    def save_each(self, folder: str | PathLike[str], *, alpha: bool = False, force: bool = True) -> list[Path]:
        """One PNG for each picture; those of a comparison in a folder for each way."""
        below = {
            name: Path(folder) / (name.split(":")[0].replace(" ", "_") if self.each == "unit" else "")
            for name in self.sheets
        }
        return [
            path
            for name, sheet in self.sheets.items()
            for path in sheet.save_each(below[name], alpha=alpha, force=force)
        ]

    def _of_layer(self, sheet: KernelSheet) -> Card:
        size = " × ".join(map(str, sheet.settings["window"] or sheet.settings["size"]))
        what = sheet.what if sheet.layer else f"{sheet.width} outputs"
        note = f"{what} · {sheet.chosen} · {size} pixels, {sheet.settings['steps']} steps"
        return Card(sheet.layer or "classes", note, [kernel.label for kernel in sheet.kernels], _rows(sheet.kernels))

    def _of_unit(self, index: int) -> Card:
        kernels = [sheet.kernels[index] for sheet in self.sheets.values()]
        sheet = next(iter(self.sheets.values()))
        title = f"{sheet.layer} {kernels[0].label}" if sheet.layer else kernels[0].label
        natural = kernels[0].natural
        note = f"photos' mean {short(natural['mean'])}, max {short(natural['max'])}" if natural else ""
        return Card(title, note, list(self.sheets), _rows(kernels))


def _rows(kernels: Sequence[KernelPictures]) -> list[list[Picked]]:
    """Optima, under them the negatives, under them the best photo of each, if there are any."""
    rows = [[_tile(kernel.optimum, kernel.natural) for kernel in kernels]]
    negatives = [kernel.negative for kernel in kernels if kernel.negative is not None]
    if negatives:
        rows.append([_tile(negative, {}) for negative in negatives])
    best = [kernel.excerpts["top"][0] for kernel in kernels if kernel.excerpts.get("top")]
    if best:
        rows.append([Picked(excerpt.picture, [f"photo, unit {short(excerpt.value)}"]) for excerpt in best])
    return rows


def _tile(drawn: Drawn, natural: Mapping[str, float]) -> Picked:
    tile = drawn_tile(drawn, natural)
    if tile.picture is None and np.ptp(drawn.pixels) > 0:
        # What it began as and never left is worth a look beside others.
        return Picked(drawn.pixels, [tile.mark])
    return tile
