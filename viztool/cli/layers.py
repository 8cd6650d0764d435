"""`viztool layers`: what a network is made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from viztool.cli.batch import refuse_existing
from viztool.cli.errors import reported
from viztool.cli.options import load, model_options


@click.command()
@model_options
@click.option("--depth", type=click.IntRange(min=1), help="Leave out layers further inside than this.")
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Also draw the table into this file.")
@click.option("--force", is_flag=True, help="Replace a file that is not viztool's.")
@reported
def layers(depth: int | None, as_json: bool, output: Path | None, force: bool, **options: Any) -> None:
    """List a network's layers: output, parameters, multiply-adds, receptive field (size, stride, first pixel)."""
    if output is not None:
        refuse_existing(output, force)
    if options["model"] is not None and options["weights"] is None:
        # Nothing in the table depends on the weights: do not download any.
        options["weights"] = "none"
    model = load(options)
    from viztool.inspect import layer_table

    table = layer_table(model, depth=depth)
    click.echo(json.dumps(table.numbers, indent=2, allow_nan=False) if as_json else str(table))
    if output is not None:
        table.save(output, force=force)
