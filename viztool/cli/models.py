"""`viztool models`: what can be loaded by name."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from viztool.cli.errors import reported
from viztool.errors import ModelError


@click.command()
@click.argument("pattern", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
@reported
def models(pattern: str | None, as_json: bool) -> None:
    """List the networks that can be loaded by name: viztool models "*resnet*".

    Your own load as file.py:factory or package.module:factory.
    """
    from viztool.models.catalog import list_models

    entries = list_models(pattern)
    if not entries:
        raise ModelError(f"no network matches {pattern!r}; a pattern is a glob such as '*resnet*'")
    if as_json:
        click.echo(json.dumps([asdict(entry) for entry in entries], indent=2))
        return
    width = max(len(entry.name) for entry in entries)
    for entry in entries:
        click.echo(f"{entry.name:<{width}}  {entry.task:<15}  {entry.source}")
