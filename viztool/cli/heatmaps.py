"""What the commands that draw heatmaps share: methods, targets, one heatmap or a comparison."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

import click

from viztool.errors import ViztoolError

if TYPE_CHECKING:
    from viztool.heatmap import Heatmap
    from viztool.models.model import Model
    from viztool.results import Result

F = TypeVar("F", bound=Callable[..., Any])

_ALL = "all"


def heatmap_options(room: str, default: str, every: str = "all") -> Callable[[F], F]:
    """--method, --target and --check, for the METHODS of this room. every: what its help says of "all"."""

    def known(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
        if _ALL not in value:
            return value
        named = import_module(room)
        return tuple(name for name in named.METHODS if name in value or name not in getattr(named, "SLOW", ()))

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
        methods = (_ALL, *import_module(room).METHODS)
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
    ]

    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def picture_of(
    model: Model,
    photo: Any,
    explain: Callable[[str, str | None], Heatmap],
    methods: Sequence[str],
    targets: Sequence[str],
    *,
    raw: bool,
    check: bool,
) -> Result:
    """One heatmap as itself, several side by side; a method that this network does not allow is said, if others do."""
    from viztool.comparison import Comparison

    heatmaps: list[Heatmap] = []
    failed: dict[str, str] = {}
    wanted: Sequence[str | None] = targets or [None]
    for method in methods:
        for target in wanted:
            try:
                heatmaps.append(explain(method, target))
            except ViztoolError as error:
                if len(methods) == 1:
                    raise
                failed[method] = str(error)
    if not heatmaps:
        raise ViztoolError(next(iter(failed.values())))
    if check:
        heatmaps = _checked(model, photo, heatmaps)
    return heatmaps[0] if len(heatmaps) == 1 else Comparison(heatmaps, raw=raw, failed=failed)


def _checked(model: Model, photo: Any, heatmaps: Sequence[Heatmap]) -> list[Heatmap]:
    """The same heatmaps, with how far each can be believed."""
    from viztool.faithfulness import evaluate_heatmap

    # Of one heatmap the numbers are as fine as they can be, of many as they have to be.
    steps, draws = (32, 8) if len(heatmaps) == 1 else (16, 4)
    evaluations = evaluate_heatmap(model, photo, heatmaps, steps=steps, draws=draws)
    return [
        replace(heatmap, beside_random=tuple(evaluation.lines(index) for index in range(len(heatmap))))
        for heatmap, evaluation in zip(heatmaps, evaluations, strict=True)
    ]
