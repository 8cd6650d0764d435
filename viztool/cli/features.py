"""`viztool features`: the contact sheet of a photo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from viztool.cli.batch import Batch, Job, output_options, plan, refuse_existing
from viztool.cli.errors import reported
from viztool.cli.options import complete_layer, load, model_options
from viztool.cli.progress import progress

if TYPE_CHECKING:
    from viztool.features import FeatureMaps
    from viztool.models.model import Model


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "-l",
    "--layer",
    "layers",
    multiple=True,
    metavar="PATTERN",
    shell_complete=complete_layer,
    help='A name, a glob ("layer3.*.conv2"), re:REGEX, type:CLASS, or stages. Repeatable. '
    "[default: stages, the last layer at each resolution]",
)
@click.option("--top", type=click.IntRange(min=1), default=16, show_default=True, help="Channels of each layer.")
@click.option("--all", "every", is_flag=True, help="All channels of each layer.")
@click.option("--overlay", is_flag=True, help="Draw each map over the photo.")
@click.option(
    "--normalize",
    type=click.Choice(["channel", "layer"]),
    default="channel",
    show_default=True,
    help="One colour scale for each channel, or one for all of a layer.",
)
@click.option("--npz", is_flag=True, help="Also write the raw maps of all channels, under their layers' names.")
@model_options
@output_options
@reported
def features(paths: tuple[str, ...], npz: bool, output: str | None, force: bool, **options: Any) -> None:
    """Draw what each stage of a network makes of a photo: one sheet a photo, cat.jpg to cat_features.png.

    PATH is a picture, a folder of pictures, a glob, or - for standard input.
    """
    jobs = plan(paths, output, "features")
    batch = Batch(options.pop("as_json"), options.pop("quiet"), options.pop("open_it"))
    verbose = options.pop("verbose")

    todo: list[Job] = []
    for job in jobs:
        with batch.attempt(job.photo):
            refuse_existing(job.target, force)
            if npz:
                refuse_existing(_npz_path(job.target), force)
            todo.append(job)
    if todo:
        model = load(options)
        for job in progress(todo, quiet=batch.quiet):
            with batch.attempt(job.photo):
                _draw(job, model, batch, npz=npz, force=force, verbose=verbose, **options)
    batch.finish("features")


def _draw(
    job: Job,
    model: Model,
    batch: Batch,
    *,
    npz: bool,
    force: bool,
    verbose: bool,
    layers: tuple[str, ...],
    top: int,
    every: bool,
    **drawing: Any,
) -> None:
    from viztool.features import feature_maps

    result = feature_maps(model, job.read(), layers or None, None if every else top, source=job.source, **drawing)
    written = [result.save(job.target, force=force)]
    if npz:
        written.append(result.save_npz(_npz_path(job.target), force=force))
    batch.wrote(result.numbers, *written)
    if verbose:
        _describe(result)


def _npz_path(target: Path) -> Path:
    return target.with_suffix(".npz")


def _describe(result: FeatureMaps) -> None:
    says = ", ".join(f"{name} {probability:.1%}" for name, probability in result.predictions) or result.verdict
    click.echo(f"{result.subject.source}: {says}", err=True)
    for layer in result.layers:
        channels, h, w = layer.maps.shape
        click.echo(f"  {layer.name}: {channels} × {h} × {w}, {layer.dead} dead", err=True)
