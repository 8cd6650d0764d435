"""What the commands that draw heatmaps share: methods, targets, one heatmap or a comparison."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


def heatmap_options(room: str, default: str) -> Callable[[F], F]:
    """--method, --target and --check, for the METHODS of this room."""

    def known(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
        if _ALL not in value:
            return value
        methods: tuple[str, ...] = import_module(room).METHODS
        return methods

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
            help="Repeatable, or all.",
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
    checks = [_checked(model, photo, heatmap) for heatmap in heatmaps] if check else []
    if len(heatmaps) == 1 and not check:
        return heatmaps[0]
    return Comparison(heatmaps, raw=raw, failed=failed, checks=checks)


def _checked(model: Model, photo: Any, heatmap: Heatmap) -> str:
    from viztool.faithfulness import evaluate_heatmap

    return str(evaluate_heatmap(model, photo, heatmap).summary())
