"""`viztool circuit`: what a unit is made of, and what it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from viztool.cli.batch import STDOUT, Batch, check_output, output_options, refuse_existing, save
from viztool.cli.checks import check_layers
from viztool.cli.errors import reported, usage
from viztool.cli.options import complete_layer, load, model_options
from viztool.errors import LayerError, SettingError


@click.command()
@click.argument("paths", nargs=-1, metavar="[PHOTOS...]")
@click.option("--atlas", metavar="DIR", help="In place of PHOTOS: an atlas, whose top photos of the unit are taken.")
@click.option(
    "-l", "--layer", required=True, metavar="NAME", shell_complete=complete_layer, help="The layer that it is in."
)
@click.option(
    "-c",
    "--channel",
    type=click.IntRange(min=0),
    metavar="N",
    help="Which unit of it. [default: all of them at once, by their weights]",
)
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
    "--factors",
    type=click.IntRange(min=1),
    default=6,
    show_default=True,
    metavar="N",
    help="Without -c: how many factors the layer's weights are taken apart into.",
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
    channel: int | None,
    inputs: str | None,
    outputs: str | None,
    replace: Any,
    top: int,
    factors: int,
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

    Without PHOTOS nothing is measured: the kernels between the unit and its inputs are drawn; and without -c the layer
    as a few factors of its weights (needs scikit-learn: pip install 'viztool[concepts]').
    """
    measured = bool(paths or atlas)
    _check_together(bool(paths), atlas, channel)
    batch = Batch(as_json, quiet, open_it)
    check_output(output, batch, npz=npz)
    stem = layer.replace(".", "_").replace("/", "_")
    what = "overview" if channel is None else f"{channel}_circuit" if measured else f"{channel}_weights"
    is_file = output == STDOUT or bool(Path(output or "").suffix and not Path(output or "").is_dir())
    target = Path(output or ".") if is_file else Path(output or ".") / f"{stem}_{what}.png"
    for path in (target, target.with_suffix(".npz")) if npz else (target,):
        refuse_existing(path, force)
    seed = options["seed"]
    model = load(options)
    with usage():
        check_layers(model, [each for each in (layer, inputs, outputs) if each is not None])
    with batch.attempt(layer if channel is None else f"{layer}/{channel}"):
        from viztool.circuits import circuit as measure
        from viztool.circuits import overview, wiring

        found: Any
        with usage((LayerError, SettingError)):
            if channel is None:
                found = overview(model, layer, factors, inputs, kernels=kernels, seed=seed)
            elif not measured:
                found = wiring(model, layer, channel, inputs, kernels=kernels, seed=seed)
            else:
                photos = list(paths) if atlas is None else _opened(atlas)
                found = measure(
                    model, layer, channel, photos, inputs, outputs, replace, top=top, kernels=kernels, seed=seed
                )
        written = [save(found, target, force)]
        if npz:
            written.append(found.save_npz(target.with_suffix(".npz"), force=force))
        for reason in found.failed if measured else ():
            batch.left_out(next((path for path in paths if path in reason), "a photo"), reason)
        batch.wrote(found, *written)
        if verbose:
            click.echo(found.in_words, err=True)
    batch.finish("circuit")


def _check_together(photos: bool, atlas: str | None, channel: int | None) -> None:
    """Raise UsageError for what does not go together."""
    if photos and atlas:
        raise click.UsageError("give either PHOTOS, or --atlas")
    measured = photos or bool(atlas)
    if measured and channel is None:
        raise click.UsageError("photos are for measuring one unit: name it with -c, or leave the photos out")
    asked = click.get_current_context().get_parameter_source
    of_photos = [name for name in ("outputs", "replace", "top") if asked(name) is not ParameterSource.DEFAULT]
    if of_photos and not measured:
        verb = "is" if len(of_photos) == 1 else "are"
        raise click.UsageError(f"--{', --'.join(of_photos)} {verb} of what is measured: give PHOTOS, or --atlas")
    if channel is not None and asked("factors") is not ParameterSource.DEFAULT:
        raise click.UsageError("--factors are of a whole layer: leave -c out")


def _opened(atlas: str) -> Any:
    from viztool.atlas import open_atlas

    return open_atlas(atlas)
