"""`viztool attribute`: which pixels speak for a class."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import click

from viztool.cli.batch import Job, each_photo, output_options, photo_options
from viztool.cli.errors import reported, usage
from viztool.cli.heatmaps import Wanted, heatmap_options
from viztool.cli.options import model_options
from viztool.errors import ViztoolError

if TYPE_CHECKING:
    from viztool.heatmaps.heatmap import Heatmap
    from viztool.models.model import Model
    from viztool.results import Result

_ROOM, _DEFAULT = "viztool.attribution", "integrated_gradients"


def parse_settings(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> dict[str, Any]:
    """Of steps=200, {"steps": 200}: whole numbers, numbers, or words."""
    settings: dict[str, Any] = {}
    for one in value:
        name, equals, text = one.partition("=")
        if not (name and equals and text):
            raise click.BadParameter(f"{one!r} is not of the form NAME=VALUE, such as steps=200")
        settings[name.strip().replace("-", "_")] = _value(text.strip())
    return settings


def parse_through(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, int] | None:
    """Of blocks.4:15, ("blocks.4", 15)."""
    if value is None:
        return None
    layer, _, channel = value.rpartition(":")
    if not layer or not channel.isdecimal():
        raise click.BadParameter(f"{value!r} is not LAYER:CHANNEL, such as blocks.4:15")
    return layer, int(channel)


def _value(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


@click.command()
@photo_options
@heatmap_options(_ROOM, _DEFAULT)
@click.option(
    "--baseline",
    type=click.Choice(["mean", "black", "blur"]),
    default="mean",
    show_default=True,
    help="The input that shows nothing, for the methods that compare with one.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    callback=parse_settings,
    help="An option of the method: steps=200, samples=4000, window=16 ... Repeatable.",
)
@click.option(
    "--through",
    metavar="LAYER:CHANNEL",
    callback=parse_through,
    help="With the LRP methods: only the relevance that flows through this unit, such as blocks.4:15.",
)
@model_options
@output_options
@reported
def attribute(
    paths: tuple[str, ...],
    baseline: Literal["mean", "black", "blur"],
    settings: dict[str, Any],
    through: tuple[str, int] | None,
    **options: Any,
) -> None:
    """Draw which pixels speak for a class, and which against it: cat_attribute.png, or cat_attribute_deeplift.png.

    PATH is a picture, a folder of pictures, a glob, or - for standard input. One method and one target give one
    map; several are compared on one sheet.
    """
    wanted, seed = Wanted.take(options), options["seed"]
    with usage():
        if through is not None:
            _check_able(wanted.methods)
        own = {method: _own_settings(method, settings, wanted.methods) for method in wanted.methods}

    def draw(model: Model, job: Job) -> Result:
        from viztool.attribution import attribute

        photo = job.read()

        def explain(network: Model, method: str, target: Any) -> Heatmap:
            return attribute(
                network,
                photo,
                method,
                target,
                through=through,
                baseline=baseline,
                seed=seed,
                source=job.source,
                **own[method],
            )

        return wanted.draw(model, photo, explain)

    def check(model: Model, jobs: Sequence[Job]) -> None:
        from viztool.attribution.through import check_through

        wanted.check_with(model, jobs)
        if through is not None:
            check_through(model, through)

    unit = "" if through is None else f"_{through[0].replace('.', '_').replace('/', '_')}_{through[1]}"
    each_photo(
        "attribute",
        paths,
        options,
        lambda model: partial(draw, model),
        kind=f"{wanted.kind('attribute', _DEFAULT, _ROOM)}{unit}",
        check=check,
    )


def _check_able(methods: Sequence[str]) -> None:
    """Raise ViztoolError for a method that cannot be sent through one unit."""
    from viztool.attribution.registry import find, require_through

    for method in methods:
        require_through(find(method))


def _own_settings(method: str, settings: dict[str, Any], methods: Sequence[str]) -> dict[str, Any]:
    """Of several methods, each takes the options that it has. Raises ViztoolError for one that none of them has."""
    from viztool.attribution import options_of
    from viztool.attribution.registry import find

    known = {name for other in methods for name in options_of(other)}
    kept = {name: value for name, value in settings.items() if len(methods) == 1 or name in options_of(method)}
    for name in settings:
        if len(methods) > 1 and name not in known:
            raise ViztoolError(f"none of these methods has an option {name!r}; they have {', '.join(sorted(known))}")
    find(method).with_options(kept)
    return kept
