"""What the commands that draw heatmaps share: methods, targets, checks; one heatmap, a comparison, or a strip."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

import click

from viztool.cli.checks import check_box, require_inside
from viztool.cli.errors import usage
from viztool.cli.expected import foretell
from viztool.cli.options import numbers
from viztool.errors import ViztoolError

if TYPE_CHECKING:
    from viztool.cli.batch import Job
    from viztool.heatmaps.heatmap import Heatmap
    from viztool.models.model import Model
    from viztool.results import Result

F = TypeVar("F", bound=Callable[..., Any])

Explain = Callable[..., "Heatmap"]
"""Called as explain(model, method, target)."""

_ALL = "all"
_FORETOLD = "viztool.check foretold"
_FEW = 3  # methods that a file is called by
_WEIGHTS, _CLASSES = "weights", "classes"


def heatmap_options(room: str, default: str, every: str = "all", others: Sequence[str] = ()) -> Callable[[F], F]:
    """Options that make up `Wanted`, for the METHODS of this room. every: what the help says of "all".

    others: methods of other rooms, which "all" does not stand for.
    """

    def known(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
        if value == (default,):  # which is known, and its room need not be opened to say so
            return value
        with usage():
            own = import_module(f"{room}.registry")
            named = [name if name in (_ALL, *others) else own.find(name).name for name in value]
        if _ALL not in named:
            return tuple(dict.fromkeys(named))
        listed = [name for name in import_module(room).METHODS if name in named or name in _every(room)]
        return (*listed, *(name for name in dict.fromkeys(named) if name in others))

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
        methods = (_ALL, *import_module(room).METHODS, *others)
        return [name for name in methods if name.startswith(incomplete)]

    options = [
        click.option(
            "--method",
            "methods",
            multiple=True,
            default=(default,),
            show_default=True,
            metavar="NAME",
            callback=known,
            shell_complete=complete,
            help=f"Repeatable, or {every}.",
        ),
        click.option(
            "--target",
            "targets",
            multiple=True,
            metavar="CLASS",
            help="A class, by name or index. Repeatable. [default: the predicted one]",
        ),
        click.option("--check", is_flag=True, help="Add the numbers that say whether to believe it (slower)."),
        click.option(
            "--box",
            callback=_corners,
            metavar="LEFT,TOP,RIGHT,BOTTOM",
            help="Where the target is, in pixels of the photo: say how much of the map lies there.",
        ),
        click.option(
            "--randomize",
            type=click.Choice([_WEIGHTS, _CLASSES]),
            help="Draw how the map changes when the network's weights are randomised from the top, or for other "
            "classes: one that stays the same explains neither.",
        ),
        click.option(
            "--raw", is_flag=True, help="In a comparison, draw the map's own cells, not the map over the photo."
        ),
    ]

    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def _every(room: str) -> tuple[str, ...]:
    """The methods that "all" stands for."""
    house = import_module(room)
    return tuple(name for name in house.METHODS if name not in getattr(house, "SLOW", ()))


def _corners(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[float, ...] | None:
    corners = numbers(float)(ctx, param, value)
    if corners is not None and (not isinstance(corners, tuple) or len(corners) != 4):
        raise click.BadParameter(f"{value!r} is not LEFT,TOP,RIGHT,BOTTOM: four numbers with commas between them")
    if corners is not None and not (0 <= corners[0] < corners[2] and 0 <= corners[1] < corners[3]):
        raise click.BadParameter(f"{value!r} is no box: 0 ≤ LEFT < RIGHT and 0 ≤ TOP < BOTTOM")
    return corners


@dataclass(frozen=True)
class Wanted:
    """What is to be drawn of each photo."""

    methods: tuple[str, ...]
    targets: tuple[str, ...]
    check: bool
    box: tuple[float, ...] | None
    randomize: str | None
    raw: bool

    @classmethod
    def take(cls, options: dict[str, Any]) -> Wanted:
        """Those of `heatmap_options`; they are taken out of the options."""
        wanted = cls(**{name: options.pop(name) for name in cls.__dataclass_fields__})
        if wanted.randomize and (len(wanted.methods) > 1 or len(wanted.targets) > 1 or wanted.check or wanted.box):
            raise click.UsageError("--randomize is of one method and one target, without --check and --box")
        return wanted

    def kind(self, command: str, default: str, room: str) -> str:
        """What the files are called by: the command, and what is not the usual of it: methods, a strip."""
        named = [] if self.methods == (default,) else list(self.methods)
        if len(named) > _FEW:
            named = [_ALL if set(_every(room)) <= set(named) else f"{len(named)}_methods"]
        parts = [command, *named, *(["randomized"] if self.randomize else [])]
        return "_".join(parts)

    def check_with(self, model: Model, jobs: Sequence[Job]) -> None:
        """Raise ViztoolError for what is not the network's, or not in a photo."""
        from viztool.targets.checking import check_targets

        check_targets(model, self.targets)
        if self.box:
            check_box(self.box, jobs)

    def draw(self, model: Model, photo: Any, explain: Explain) -> Result:
        """One heatmap as itself, several side by side; a method that this network does not allow is said, if others do.

        Raises ViztoolError if no heatmap can be had.
        """
        if self.box:
            require_inside(self.box, photo, "the photo")
        if self.randomize:
            return self._strip(model, photo, explain)
        from viztool.heatmaps.comparison import Comparison

        heatmaps, failed = self._explained(model, explain)
        if self.check:
            heatmaps = _beside_random(model, photo, heatmaps)
        if self.box:
            heatmaps = [_in_box(heatmap, self.box) for heatmap in heatmaps]
        return heatmaps[0] if len(heatmaps) == 1 else Comparison(heatmaps, raw=self.raw, failed=failed)

    def _explained(self, model: Model, explain: Explain) -> tuple[list[Heatmap], dict[str, str]]:
        heatmaps: list[Heatmap] = []
        failed: dict[str, str] = {}
        targets: Sequence[str | None] = self.targets or [None]
        for method in self.methods:
            for target in targets:
                try:
                    heatmaps.append(explain(model, method, target))
                except ViztoolError as error:
                    if len(self.methods) == 1:
                        raise
                    failed[method] = str(error)
        if not heatmaps:
            raise ViztoolError(next(iter(failed.values())))
        return heatmaps, failed

    def _strip(self, model: Model, photo: Any, explain: Explain) -> Result:
        from viztool.faithfulness import randomize_labels, randomize_weights

        given = next(iter(self.targets), None)

        def again(changed: Any, photo: Any, target: Any = given) -> Heatmap:
            return explain(changed, self.methods[0], target)

        randomize = randomize_weights if self.randomize == _WEIGHTS else randomize_labels
        return randomize(model, photo, again)


def _beside_random(model: Model, photo: Any, heatmaps: Sequence[Heatmap]) -> list[Heatmap]:
    """The same heatmaps, with how they stand beside random maps."""
    from viztool.faithfulness import evaluate_heatmap
    from viztool.faithfulness.probe import seconds_of_evaluation

    # Of one heatmap the numbers are as fine as they can be, of many as they have to be.
    steps, draws = (32, 8) if len(heatmaps) == 1 else (16, 4)
    context = click.get_current_context()
    if not context.params["quiet"] and not context.meta.setdefault(_FORETOLD, False):
        context.meta[_FORETOLD] = True  # once: of another photo it takes as long
        seconds = seconds_of_evaluation(model, photo, heatmaps, steps=steps, draws=draws)
        foretell(f"the check of each photo, {len(heatmaps)} heatmap{'s' if len(heatmaps) > 1 else ''}", seconds)
    evaluations = evaluate_heatmap(model, photo, heatmaps, steps=steps, draws=draws)
    return [_told(heatmap, evaluation.lines()) for heatmap, evaluation in zip(heatmaps, evaluations, strict=True)]


def _in_box(heatmap: Heatmap, box: tuple[float, ...]) -> Heatmap:
    from viztool.faithfulness import energy_in_box, pointing_game
    from viztool.faithfulness.boxes import in_view
    from viztool.render.numbers import percent

    energy, pointing = energy_in_box(heatmap, [box]), pointing_game(heatmap, [box])
    place = "inside" if float(pointing.value[0]) > 0.5 else "outside"
    area = float(energy.random[0].mean())
    share = f"{percent(float(energy.value[0]))} in the box ({percent(area)} of the area)"
    return replace(_told(heatmap, [share, f"peak {place} the box"]), box=in_view(box, heatmap.subjects[0]))


def _told(heatmap: Heatmap, lines: Sequence[str]) -> Heatmap:
    """The same heatmap, of one image, with more lines on it."""
    before = heatmap.measured[0] if heatmap.measured else ()
    return replace(heatmap, measured=((*before, *lines),))
