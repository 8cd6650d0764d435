"""`viztool gallery`: make the gallery's pictures anew."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import click

from viztool.cli.errors import reported
from viztool.cli.expected import foretell
from viztool.cli.progress import progress


@click.command()
@click.argument("folder", default="gallery", type=click.Path(path_type=Path))
@click.option("--all", "every", is_flag=True, help="Also those that are there as they would be made today.")
@click.option("--check", is_flag=True, help="Draw nothing; name what would change today, and exit 1.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
@reported
def gallery(folder: Path, every: bool, check: bool, quiet: bool) -> None:
    """Make the pictures of the gallery that changed, each with its numbers beside it, and the pages that show them.

    FOLDER holds the photos in inputs/. A picture changes with its command, its photos, and the modules that it is
    drawn with, but for their comments.
    """
    from viztool.gallery import PIECES, build_gallery, stale
    from viztool.gallery.expected import seconds_of

    todo = stale(folder)
    if check:
        for piece in todo:
            click.echo(str(piece.picture(folder)))
        raise SystemExit(bool(todo))
    if every:
        todo = list(PIECES)
    if not quiet:
        foretell(f"{len(todo)} pictures", seconds_of(todo))
    for piece in progress(build_gallery(folder, todo, run), quiet=quiet, what="pictures", total=len(todo)):
        if not quiet:
            click.echo(str(piece.picture(folder)))
    if not todo and not quiet:
        click.echo("nothing changed; --all makes every picture anew", err=True)


def run(arguments: Sequence[str]) -> dict[str, Any]:
    """Run a viztool command in this process; the entry of its manifest."""
    from viztool.cli import main

    out = StringIO()
    with redirect_stdout(out):
        main([*arguments, "--force", "--json"], standalone_mode=False)
    results: list[dict[str, Any]] = json.loads(out.getvalue())["results"]
    return results[0]
