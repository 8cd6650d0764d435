"""`viztool circuit`: what a unit is made of, and what it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from viztool.cli.batch import STDOUT, Batch, check_output, output_options, refuse_existing, save
from viztool.cli.checks import check_layers
from viztool.cli.errors import reported, usage
from viztool.cli.options import complete_layer, load, model_options


@click.command()
@click.argument("paths", nargs=-1, metavar="[PHOTOS...]")
@click.option("--atlas", metavar="DIR", help="In place of PHOTOS: an atlas, whose top photos of the unit are taken.")
@click.option(
    "-l", "--layer", required=True, metavar="NAME", shell_complete=complete_layer, help="The layer that it is in."
)
@click.option("-c", "--channel", required=True, type=click.IntRange(min=0), metavar="N", help="Which unit of it.")
@click.option(
    "--inputs",
    metavar="NAME",
    shell_complete=complete_layer,
    help="The earlier layer whose channels are knocked out. [default: the one that the layer begins with]",
)
@click.option(
    "--outputs",
    metavar="NAME",
    shell_complete=complete_layer,
    help="The later layer in which it is measured what the unit does. [default: the classes]",
)
@click.option(
    "--replace",
    type=click.Choice(["mean", "zero", "resample"]),
    default="mean",
    show_default=True,
    help="What a channel is replaced by: its mean over the data, zero, or its map on another photo.",
)
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    help="Photos that are measured on, those that excite the unit most.",
)
@click.option(
    "--kernels/--no-kernels", default=True, help="Draw what excites the channels most; seconds each. [default: draw]"
)
@output_options
@model_options
@reported
def circuit(
    paths: tuple[str, ...],
    atlas: str | None,
    layer: str,
    channel: int,
    inputs: str | None,
    outputs: str | None,
    replace: Any,
    top: int,
    kernels: bool,
    npz: bool,
    output: str | None,
    force: bool,
    as_json: bool,
    open_it: bool,
    quiet: bool,
    verbose: bool,
    **options: Any,
) -> None:
    """Draw a unit between its strongest inputs and what it feeds, each line measured by knocking out a channel.

    PHOTOS are pictures, folders, globs, or .tar shards. The file is called LAYER_CHANNEL_circuit.png.
    """
    if bool(paths) == bool(atlas):
        raise click.UsageError("give either PHOTOS, or --atlas")
    batch = Batch(as_json, quiet, open_it)
    check_output(output, batch, npz=npz)
    name = f"{layer.replace('.', '_').replace('/', '_')}_{channel}_circuit.png"
    is_file = output == STDOUT or bool(Path(output or "").suffix and not Path(output or "").is_dir())
    target = Path(output or ".") if is_file else Path(output or ".") / name
    for path in (target, target.with_suffix(".npz")) if npz else (target,):
        refuse_existing(path, force)
    seed = options["seed"]
    model = load(options)
    with usage():
        check_layers(model, [each for each in (layer, inputs, outputs) if each is not None])
    with batch.attempt(f"{layer}/{channel}"):
        from viztool.circuits import circuit as measure

        photos: Any = list(paths)
        if atlas is not None:
            from viztool.atlas import open_atlas

            photos = open_atlas(atlas)
        found = measure(model, layer, channel, photos, inputs, outputs, replace, top=top, kernels=kernels, seed=seed)
        written = [save(found, target, force)]
        if npz:
            written.append(found.save_npz(target.with_suffix(".npz"), force=force))
        for reason in found.failed:
            batch.left_out(next((path for path in paths if path in reason), "a photo"), reason)
        batch.wrote(found, *written)
        if verbose:
            click.echo(found.in_words, err=True)
    batch.finish("circuit")
