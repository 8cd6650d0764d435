"""`viztool layers`: what a network is made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from viztool.cli.batch import STDOUT, Batch, check_output, refuse_existing, save
from viztool.cli.errors import reported
from viztool.cli.options import load, model_options


@click.command()
@model_options
@click.option("--depth", type=click.IntRange(min=1), help="Leave out layers further inside than this.")
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
@click.option("-o", "--output", metavar="FILE", help="Also draw the table into this file; - is standard output.")
@click.option("--force", is_flag=True, help="Replace a file that is not viztool's.")
@reported
def layers(depth: int | None, as_json: bool, output: str | None, force: bool, **options: Any) -> None:
    """List a network's layers: output, parameters, multiply-adds, receptive field (size, stride, first pixel)."""
    check_output(output, Batch(as_json, quiet=False, open_it=False))
    if output is not None:
        refuse_existing(Path(output), force)
    if options["model"] is not None and options["weights"] is None:
        # Nothing in the table depends on the weights: do not download any.
        options["weights"] = "none"
    model = load(options)
    from viztool.inspect import layer_table

    table = layer_table(model, depth=depth)
    if output != STDOUT:
        click.echo(json.dumps(table.numbers, indent=2, allow_nan=False) if as_json else str(table))
    if output is not None:
        save(table, Path(output), force)
