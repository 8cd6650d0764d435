"""Draw kernels for the command line: with bars, and so that an interrupted run goes on where it was."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from viztool.cli.expected import Pace

if TYPE_CHECKING:
    from viztool.kernels import KernelSheet, Recipe
    from viztool.kernels.ascent import Callback, Progress
    from viztool.kernels.bands import KernelBands
    from viztool.models.model import Model

ALL = "all"


@dataclass(frozen=True)
class Asked:
    """What is to be drawn. channels: their numbers, "all", or None for the most selective."""

    layers: tuple[str, ...]
    channels: list[int] | str | None
    targets: tuple[str, ...]
    compare: str | None
    negative: bool | None
    neuron: bool
    direction: str | None
    parameterization: str
    steps: int | None
    size: int | tuple[int, int] | None
    seed: int
    photos: str | None
    keep: int
    spread: bool
    check: bool

    @property
    def groups(self) -> list[str | None]:
        """The layers, and None for classes."""
        return [*self.layers, *([None] if self.targets else [])]

    @property
    def in_bands(self) -> bool:
        """Whether it is more than one sheet."""
        return self.compare is not None or len(self.groups) > 1

    @property
    def both(self) -> bool:
        """Whether one sheet shows what excites each unit least, too."""
        return not self.targets if self.negative is None else self.negative


@dataclass(frozen=True)
class Drawer:
    """Draws what is asked of a model. unfinished: where pictures are kept until all are done."""

    model: Model
    asked: Asked
    judge: Model | None
    unfinished: Path
    quiet: bool

    def sheet(self, watchers: Sequence[Callback]) -> KernelSheet:
        """The one that is asked for; of an interrupted run what is finished."""
        from viztool.kernels import Recipe

        recipe = Recipe(self.asked.parameterization)
        return self._draw(self.asked.groups[0], recipe, self.asked.both, self.unfinished, watchers)

    def bands(self) -> KernelBands:
        """A sheet for each layer, or for each way that a comparison draws one in; nothing of them if interrupted."""
        from viztool.kernels import Recipe
        from viztool.kernels.bands import COMPARISONS, KernelBands, variants
        from viztool.kernels.presets import preset_of

        asked, recipe = self.asked, Recipe(self.asked.parameterization)
        if asked.compare is None:
            parts = {layer or "classes": (layer, recipe) for layer in asked.groups}
        else:
            preset = preset_of(self.model, [self._layer], self._size)
            parts = {name: (asked.groups[0], way) for name, way in variants(asked.compare, recipe, preset).items()}
        sheets = {}
        for number, (name, (layer, way)) in enumerate(parts.items()):
            sheet = self._draw(layer, way, bool(asked.negative), self.unfinished / str(number), [], name)
            if unfinished(sheet):
                raise click.ClickException("interrupted; nothing is written yet, and the same command goes on there")
            sheets[name] = sheet
        return KernelBands(sheets) if asked.compare is None else KernelBands(sheets, "unit", COMPARISONS[asked.compare])

    def _draw(
        self,
        layer: str | None,
        recipe: Recipe,
        negative: bool,
        folder: Path,
        watchers: Sequence[Callback],
        name: str = "pictures",
    ) -> KernelSheet:
        """folder: for what is finished. name: beside the bar."""
        from viztool.kernels import Beside, Run, visualize_kernels
        from viztool.kernels.store import FolderStore
        from viztool.kernels.units import read_directions

        asked = self.asked
        pace = None if self.quiet else Pace(name if asked.in_bands else layer or "classes")
        with _progress(self.quiet, asked.photos, name) as (advance, photo_seen):

            def callback(progress: Progress) -> None:
                if pace is not None:
                    pace(progress)
                advance(progress)
                for watcher in watchers:
                    watcher(progress)

            return visualize_kernels(
                self.model,
                layer,
                self._channels(layer),
                asked.steps,
                asked.size,
                asked.seed,
                targets=None if layer else list(asked.targets),
                neuron=asked.neuron and layer is not None,
                directions=None if asked.direction is None else read_directions(Path(asked.direction)),
                negative=negative,
                photos=None if asked.photos is None else Beside(asked.photos, asked.keep, asked.spread, asked.check),
                recipe=recipe,
                judge=self.judge,
                run=Run(FolderStore(folder), callback, photo_seen),
            )

    @property
    def steps(self) -> int:
        """Of the one sheet that is asked for."""
        from viztool.kernels.presets import preset_of
        from viztool.kernels.single import for_single_unit

        if self.asked.steps is not None:
            return self.asked.steps
        alone = self._layer and self.asked.size is None and self.asked.direction is None
        single = for_single_unit(self.model, self._layer) if alone else None
        return (single or preset_of(self.model, [self._layer], self._size)).steps

    @property
    def _layer(self) -> str:
        from viztool.kernels.objectives import OUTPUT
        from viztool.kernels.units import one_layer

        return one_layer(self.model, self.asked.layers[0]) if self.asked.layers else OUTPUT

    @property
    def _size(self) -> tuple[int, int]:
        from viztool.kernels.units import picture_size

        return picture_size(self.model, self._layer, self.asked.size)

    def _channels(self, layer: str | None) -> list[int] | None:
        from viztool.kernels.units import every_channel

        if layer is None or self.asked.channels is None:
            return None
        if isinstance(self.asked.channels, str):
            return every_channel(self.model, layer, self.asked.size)
        return self.asked.channels


def interrupted(sheet: KernelSheet) -> int:
    """How many of its pictures were on their way."""
    return sum(kernel.optimum.status == "interrupted" for kernel in sheet.kernels)


def unfinished(sheet: KernelSheet) -> int:
    """How many of those that were asked for are not finished."""
    return len(sheet.asked) - len(sheet) + interrupted(sheet)


@contextmanager
def _progress(quiet: bool, photos: str | None, name: str) -> Iterator[tuple[Callback, Callable[[int], None]]]:
    """Bars with the time left on stderr, if that is a terminal: for steps, and for photos seen so far."""
    if quiet or not sys.stderr.isatty():
        yield lambda progress: None, lambda seen: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    from viztool.images import find_images

    percent = TextColumn("{task.percentage:>3.0f} %")
    columns = (TextColumn("{task.description}"), BarColumn(), percent, TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        looking = None if photos is None else bar.add_task("photos", total=len(find_images([photos])))
        begun: list[int] = []
        task = bar.add_task(name, total=None)

        def advance(progress: Progress) -> None:
            done = progress.indices.start * progress.steps
            # What an earlier run has finished took no time in this one, and must not count as speed.
            if not begun:
                begun.append(done)
            total = progress.total * progress.steps - begun[0]
            bar.update(task, total=total, completed=done + len(progress.indices) * progress.step - begun[0])

        def photo_seen(seen: int) -> None:
            if looking is not None:
                bar.update(looking, completed=seen)

        yield advance, photo_seen
