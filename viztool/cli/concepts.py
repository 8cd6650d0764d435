"""`viztool concepts`: what a class is made of."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from viztool.cli.batch import Batch, check_output, plan, refuse_existing, save
from viztool.cli.batch import output_options as outputs
from viztool.cli.checks import check_layers
from viztool.cli.errors import reported, usage
from viztool.cli.options import complete_layer, load, model_options
from viztool.errors import LayerError, SettingError, TargetError


@click.command()
@click.argument("photos", nargs=-1, required=True, metavar="PHOTOS...")
@click.option("--target", metavar="CLASS", help="By name or index. [default: what most of the photos are predicted as]")
@click.option(
    "-l",
    "--layer",
    metavar="PATTERN",
    shell_complete=complete_layer,
    help="A layer with maps. [default: the last stage]",
)
@click.option("--count", type=click.IntRange(min=1), default=10, show_default=True, help="Concepts to look for.")
@click.option(
    "--crop", type=float, default=0.4, show_default=True, help="Side of the crops, as a share of the photo's."
)
@click.option(
    "--label", metavar="NAME", help="Only photos with this label: their folder, or their .cls file in a .tar."
)
@click.option(
    "--split",
    type=click.IntRange(min=1),
    metavar="N",
    help="Take concept N apart instead, at the stage before, on the crops that hold most of it.",
)
@click.option("--into", type=click.IntRange(min=1), default=2, show_default=True, help="With --split: how many parts.")
@outputs
@model_options
@reported
def concepts(
    photos: tuple[str, ...],
    target: str | None,
    layer: str | None,
    count: int,
    crop: float,
    label: str | None,
    split: int | None,
    into: int,
    **options: Any,
) -> None:
    """Take a class apart into its concepts: parts that come back in its photos, and how much the class rests on each.

    PHOTOS, of the class, are a folder, a glob, a .txt list, .tar shards or a .parquet file; a few dozen at least,
    better some hundred. Needs scikit-learn: pip install 'viztool[concepts]'.
    """
    from viztool.images.finding import is_glob

    force, npz, verbose, seed = options.pop("force"), options.pop("npz"), options.pop("verbose"), options["seed"]
    output = options.pop("output")
    batch = Batch(options.pop("as_json"), options.pop("quiet"), options.pop("open_it"))
    check_output(output, batch, npz=npz)
    given = photos[0] if len(photos) == 1 else list(photos)
    kind = "concepts" if split is None else f"concept_{split}"
    stem = "photos" if is_glob(photos[0]) else Path(photos[0]).stem or "photos"
    job = plan([f"{stem}_{label}.png" if label else f"{stem}.png"], output, kind)[0]
    for path in (job.target, job.arrays) if npz else (job.target,):
        refuse_existing(path, force)
    if split is not None and split > count:
        with usage():
            raise SettingError(f"--split {split} is none of the {count} concepts")
    from viztool.craft import concepts as find
    from viztool.craft import split as take_apart
    from viztool.targets.checking import check_targets

    model = load(options)
    with usage():
        check_layers(model, [] if layer is None else [layer])
        check_targets(model, [] if target is None else [target])
    with batch.attempt(str(photos[0])):
        with usage((LayerError, SettingError, TargetError)):
            told = _told(batch.quiet)
            found = find(model, given, target, layer, count, crop=crop, label=label, seed=seed, progress=told)
            if split is not None:
                found = take_apart(model, given, found, split, target, count=into, crop=crop, label=label, seed=seed)
        written = [save(found, job.target, force)]
        if npz:
            written.append(found.save_npz(job.arrays, force=force))
        for name, reason in found.failed:
            batch.left_out(name, reason)
        if verbose:
            click.echo(found.in_words, err=True)
        batch.wrote(found, *written)
    batch.finish("concepts")


def _told(quiet: bool) -> Callable[[int], None] | None:
    """Says how many photos were seen, where somebody is looking."""
    if quiet or not sys.stderr.isatty():
        return None
    from viztool.render.numbers import counted

    return lambda photos: click.echo(f"\r\x1b[K{counted(photos, 'photos')} seen", err=True, nl=False)
