"""`viztool explore`: one page to walk through a network on a photo."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from viztool.cli.batch import Batch, photos_of, plan, refuse_existing
from viztool.cli.checks import check_layers
from viztool.cli.errors import reported, usage
from viztool.cli.options import layers_option, load, model_options

if TYPE_CHECKING:
    from viztool.kernels import Run


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@layers_option("As in `viztool features`; layers without maps are shown as bars.")
@click.option("--atlas", metavar="DIR", help="An atlas of the network: what each channel answers to in a data set.")
@click.option("--kernels", is_flag=True, help="Draw what excites the channels most; takes seconds a channel.")
@click.option("--circuits", is_flag=True, help="Measure what each channel does to those of the next layer shown.")
@click.option(
    "--concepts", metavar="FILE", help="Concepts of a class, from `viztool concepts --npz`: where they are here."
)
@click.option("--small", is_flag=True, help="A smaller page: maps in 256 steps, terms to 2 digits.")
@click.option("-o", "--output", metavar="PATH", help="The file to write, or a folder. [default: this folder]")
@click.option("--force", is_flag=True, help="Replace files that are not viztool's.")
@click.option("--json", "as_json", is_flag=True, help="Print a manifest with every number, and nothing else.")
@click.option("--open", "open_it", is_flag=True, help="Show the page when it is done.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
@click.option("-v", "--verbose", is_flag=True, help="Say more on stderr.")
@model_options
@reported
def explore(
    paths: tuple[str, ...],
    layers: tuple[str, ...],
    atlas: str | None,
    kernels: bool,
    circuits: bool,
    concepts: str | None,
    small: bool,
    output: str | None,
    force: bool,
    as_json: bool,
    open_it: bool,
    quiet: bool,
    verbose: bool,
    **options: Any,
) -> None:
    """Write one HTML page to walk through a network on a photo: cat.jpg to cat_explore.html.

    It opens from disk, offline: click a unit and see what it looked at, and the sum that made it. PATH is a picture, a
    folder of pictures, a glob, or - for standard input; several photos are on one page, with a switch.
    """
    jobs = plan(photos_of(paths, recursive=False), None, "explore")
    target = _target(output, jobs[0].target)
    refuse_existing(target, force)
    batch = Batch(as_json, quiet, open_it)
    if concepts is not None:
        from viztool.explorer.concepts import known_concepts

        with usage():
            known_concepts(concepts)  # wrong usage first, not when the network is loaded
    photos, names = [], []
    for job in jobs:
        with batch.attempt(job.photo):
            photos.append(job.read())
            names.append(job.source)
    if photos:
        from viztool.explorer import explore as make

        model = load(options)
        with usage():
            check_layers(model, layers)
        with batch.attempt(names[0]):
            finished = target.with_name(f".{target.name}.unfinished")
            run = _run(finished) if kernels else None
            page = make(
                model,
                photos,
                layers or None,
                atlas,
                kernels,
                circuits=circuits,
                concepts=concepts,
                small=small,
                source=names,
                run=run,
            )
            batch.wrote(page, page.save(target, force=force))
            shutil.rmtree(finished, ignore_errors=True)
            if page.warning:
                click.echo(f"Warning: {page.warning}", err=True)
            if verbose:
                click.echo(page.in_words, err=True)
    batch.finish("explore")


def _run(folder: Path) -> Run:
    from viztool.kernels import Run
    from viztool.kernels.store import FolderStore

    return Run(FolderStore(folder))


def _target(output: str | None, usual: Path) -> Path:
    name = usual.with_suffix(".html").name
    if output is None:
        return Path(name)
    folder = output.endswith(("/", "\\")) or Path(output).is_dir() or not Path(output).suffix
    return Path(output) / name if folder else Path(output)
