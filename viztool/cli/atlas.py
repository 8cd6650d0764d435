"""`viztool atlas`: what every unit of a network does over a whole data set."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from viztool.cli.batch import Batch, output_options
from viztool.cli.checks import check_layers
from viztool.cli.errors import reported, usage
from viztool.cli.options import layers_option, load, model_options
from viztool.errors import LayerError, SettingError

if TYPE_CHECKING:
    from viztool.atlas import Progress
    from viztool.results import Result


@click.group()
def atlas() -> None:
    """What every unit of a network does over a whole data set.

    \b
    viztool atlas build photos/ -o lite0.atlas      one forward a photo; goes on where it was
    viztool atlas show lite0.atlas -l blocks.4      what the units of a layer answer to
    viztool atlas photo lite0.atlas cat.jpg         what is unusual in a photo
    viztool atlas check lite0.atlas                 whether it is whole
    """  # noqa: D301 (click's own mark for lines that stay as they are)


@atlas.command()
@click.argument("photos", nargs=-1, required=True, metavar="PHOTOS...")
@click.option("-o", "--output", required=True, metavar="DIR", help="The folder that the atlas is kept in.")
@layers_option("As in `viztool features`.")
@click.option("--keep", type=click.IntRange(min=1), default=16, show_default=True, help="Places kept of each unit.")
@click.option("--workers", metavar="N|ray", help="So many processes; ray or ray://HOST:PORT for a cluster.")
@click.option("--thumbnails", is_flag=True, help="Keep the crops, so that it can be shown where the photos are not.")
@click.option("--relevance", is_flag=True, help="Also rank photos by how much a unit matters to the network.")
@click.option("--half", is_flag=True, help="Compute in bfloat16 where the network allows it.")
@click.option("--restart", is_flag=True, help="Throw away what another network or other photos left in the folder.")
@click.option("--json", "as_json", is_flag=True, help="Print what there is as JSON, and nothing else.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
@model_options
@reported
def build(
    photos: tuple[str, ...],
    output: str,
    layers: tuple[str, ...],
    keep: int,
    workers: str | None,
    thumbnails: bool,
    relevance: bool,
    half: bool,
    restart: bool,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Look through PHOTOS: a folder, a glob, a .txt list, .tar shards, a .parquet file, or URLs of these.

    Whatever ends it, what is finished stays: the same command goes on from there, to the same tables. Exits with 1 if a
    photo could not be looked at; the atlas is of the others.
    """
    from viztool.atlas import build_atlas
    from viztool.atlas.engines import find_engine

    find_engine(workers)  # wrong usage first, not when the network is loaded
    model = load(options)
    with usage():
        check_layers(model, layers)
    with usage(LayerError):
        built = build_atlas(
            model,
            photos[0] if len(photos) == 1 else list(photos),
            output,
            layers=layers or "stages",
            keep=keep,
            workers=workers,
            thumbnails=thumbnails,
            half=half,
            relevance=relevance,
            restart=restart,
            callback=None if quiet or as_json else _Pace(),
            say=lambda line: click.echo(line, err=True),
        )
    if as_json:
        click.echo(json.dumps({"folder": output, **built.numbers}, indent=2, allow_nan=False))
    elif not quiet:
        click.echo(f"{output}: {built.in_words}")
        for name, reason in built.failed[:5]:
            click.echo(f"left out: {reason if name in reason else f'{name}: {reason}'}", err=True)
        if len(built.failed) > 5:
            click.echo(f"and {len(built.failed) - 5} more; `viztool atlas check {output}` lists them", err=True)
    if built.failed:
        sys.exit(1)


@atlas.command()
@click.argument("folder", metavar="DIR")
@click.option("-l", "--layer", "layers", multiple=True, metavar="NAME", help="Repeatable. [default: all layers]")
@click.option(
    "-c",
    "--channels",
    metavar="LIST",
    multiple=True,
    callback=lambda ctx, param, values: ",".join(values) or None,
    help="Such as 0-7,12. Repeatable. [default: the 12 that stand out most]",
)
@click.option("--photos", metavar="PHOTOS", help="Where the photos are now, if not where they were.")
@output_options
@reported
def show(
    folder: str, layers: tuple[str, ...], channels: str | None, photos: str | None, npz: bool, **options: Any
) -> None:
    """Draw a sheet for each layer: what its units answer to most and least, and how often."""
    from viztool.atlas import open_atlas
    from viztool.atlas.crops import album as album_of
    from viztool.atlas.sheet import AtlasSheet, chosen
    from viztool.atlas.unusual import refuse_none

    opened = open_atlas(folder)
    album = album_of(opened, photos)
    if channels is not None and len(layers) != 1:
        raise click.UsageError("-c names channels of one layer; give that layer with -l")
    refuse_none(opened)
    with usage((LayerError, SettingError)):
        shown = {layer: chosen(opened, layer, channels) for layer in layers or opened.layers}
    sheets = [AtlasSheet(opened, layer, units, album, channels is not None) for layer, units in shown.items()]
    batch = _batch(options)
    stem = Path(folder).name.removesuffix(".atlas")
    targets = _targets(options["output"], [f"{stem}_{sheet.layer or 'network'}_atlas.png" for sheet in sheets])
    for sheet, target in zip(sheets, targets, strict=True):
        with batch.attempt(sheet.layer):
            batch.wrote(sheet, *_save(sheet, target, options["force"], npz))
    batch.finish("atlas show")


@atlas.command()
@click.argument("folder", metavar="DIR")
@click.argument("photo", metavar="PHOTO")
@click.option("--count", type=click.IntRange(min=1), default=8, show_default=True, help="Units to show.")
@click.option("--photos", metavar="PHOTOS", help="Where the atlas's photos are now, if not where they were.")
@output_options
@model_options
@reported
def photo(folder: str, photo: str, count: int, photos: str | None, npz: bool, **options: Any) -> None:
    """Draw what is unusual in PHOTO: the units that answer to it as to few photos of the atlas."""
    from viztool.atlas import open_atlas
    from viztool.atlas.unusual_sheet import unusual_sheet
    from viztool.images import read_image

    opened = open_atlas(folder)
    batch = _batch(options)
    output, force = options.pop("output"), options.pop("force")
    for name in ("as_json", "quiet", "open_it", "verbose"):
        options.pop(name)
    target = _targets(output, [f"{Path(photo).stem}_unusual.png"])[0]
    with batch.attempt(photo):
        picture = read_image(photo)
        sheet = unusual_sheet(opened, load(options), picture, count, source=Path(photo).name, photos=photos)
        batch.wrote(sheet, *_save(sheet, target, force, npz))
    batch.finish("atlas photo")


@atlas.command()
@click.argument("folder", metavar="DIR")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
@reported
def check(folder: str, as_json: bool) -> None:
    """Compare every checksum of an atlas, and say what is missing or was left out. Exits with 1 if it is not whole."""
    from viztool.atlas.check import check_atlas

    found = check_atlas(folder)
    if as_json:
        click.echo(json.dumps(found.numbers, indent=2, allow_nan=False))
    else:
        click.echo("\n".join(found.lines))
    if not found.whole:
        sys.exit(1)


class _Pace:
    """Photos per second and the time that is left, on stderr where somebody is looking."""

    def __init__(self) -> None:
        self._begun = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        if not sys.stderr.isatty():
            return
        done, left = progress.done - progress.found, progress.photos - progress.done
        each = (time.monotonic() - self._begun) / max(1, done)
        pace = f" · {1 / each:.1f} a second, {_span(each * left)} left" if done else ""
        click.echo(f"\r\x1b[K{progress.done:,} of {progress.photos:,} photos{pace}", err=True, nl=False)
        if progress.done == progress.photos:
            click.echo("\r\x1b[K", err=True, nl=False)


def _span(seconds: float) -> str:
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {left} s" if minutes else f"{left} s"


def _batch(options: dict[str, Any]) -> Batch:
    return Batch(options["as_json"], options["quiet"], options["open_it"])


def _save(sheet: Result, target: Path, force: bool, npz: bool) -> list[Path]:
    """Write the picture, and the counts behind it if they are asked for; returns the files."""
    written = [sheet.save(target, force=force)]
    return [*written, sheet.save_npz(target.with_suffix(".npz"), force=force)] if npz else written


def _targets(output: str | None, names: list[str]) -> list[Path]:
    """One file for each name: in the folder that is named, or the one file that is."""
    if output is not None and len(names) == 1 and Path(output).suffix and not Path(output).is_dir():
        return [Path(output)]
    if output is not None and Path(output).suffix and not Path(output).is_dir():
        raise click.UsageError(f"{len(names)} sheets cannot go into the one file {output}; give a folder with -o")
    return [Path(output or ".") / name.replace("/", "_") for name in names]
