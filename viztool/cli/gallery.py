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


@click.command()
@click.argument("folder", default="gallery", type=click.Path(path_type=Path))
@reported
def gallery(folder: Path) -> None:
    """Make every picture of the gallery anew, with its numbers beside it. FOLDER holds the photos in inputs/."""
    from viztool.gallery import build_gallery

    for piece in build_gallery(folder, _run):
        click.echo(str(folder / f"{piece.name}.png"))


def _run(arguments: Sequence[str]) -> dict[str, Any]:
    """Run a viztool command in this process; the entry of its manifest."""
    group = click.get_current_context().find_root().command
    out = StringIO()
    with redirect_stdout(out):
        group.main([*arguments, "--force", "--json"], standalone_mode=False)
    results: list[dict[str, Any]] = json.loads(out.getvalue())["results"]
    return results[0]
