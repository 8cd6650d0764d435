"""`viztool about`: how a picture was made, as it says itself."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from viztool.cli.errors import reported

if TYPE_CHECKING:
    from viztool.images.marks import Mark


@click.command()
@click.argument("pictures", nargs=-1, required=True, metavar="PICTURE...", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON, and nothing else.")
@reported
def about(pictures: tuple[Path, ...], as_json: bool) -> None:
    """Print what a picture says of how it was made: command, versions, seed, and the digest of its numbers.

    Also of an .npz. Exit code 1 if viztool did not make it.
    """
    from viztool.images import read_mark
    from viztool.images.naming import reason, shown

    found: dict[str, Mark | None] = {}
    for picture in pictures:
        name = shown(picture)
        try:
            mark = found[name] = read_mark(picture)
        except OSError as error:
            found[name] = None
            click.echo(f"Error: {name} cannot be read ({reason(error)})", err=True)
            continue
        if mark is None:
            click.echo(f"Error: {name} is not viztool's: it carries no mark of how it was made", err=True)
        elif not as_json:
            click.echo(_told(name, mark))
    if as_json:
        click.echo(json.dumps({name: mark and asdict(mark) for name, mark in found.items()}, indent=2))
    if None in found.values():
        sys.exit(1)


def _told(name: str, mark: Mark) -> str:
    """The mark in lines."""
    if not mark.viztool:
        return f"{name}: drawn by viztool, before its pictures said how"
    lines = [
        f"{name}: drawn by viztool {mark.viztool}",
        f"  command   {mark.command or 'none: from Python'}",
        f"  seed      {'none' if mark.seed is None else mark.seed}",
        f"  versions  {', '.join(f'{what} {version}' for what, version in mark.versions.items())}",
        f"  numbers   {'none' if mark.digest is None else f'SHA-256 {mark.digest}'}",
    ]
    return "\n".join(lines)
