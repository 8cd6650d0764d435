"""`viztool monitor`: a training's health, from its log."""

from __future__ import annotations

import time
from pathlib import Path

import click

from viztool.cli.batch import Batch, refuse_existing
from viztool.cli.errors import reported


@click.command()
@click.argument("logs", nargs=-1, required=True, metavar="LOG...")
@click.option(
    "-o", "--output", metavar="PATH", help="The page (.html) or sheet (.png, .svg, .pdf). [default: LOG's name, .html]"
)
@click.option("--follow", is_flag=True, help="Show it here while the training runs; Ctrl-C ends.")
@click.option("--force", is_flag=True, help="Replace files that are not viztool's.")
@click.option("--json", "as_json", is_flag=True, help="Print a manifest with every number, and nothing else.")
@click.option("--open", "open_it", is_flag=True, help="Show the page when it is done.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
@reported
def monitor(
    logs: tuple[str, ...], output: str | None, follow: bool, force: bool, as_json: bool, open_it: bool, quiet: bool
) -> None:
    """Say what goes wrong in a training: run.jsonl to run.html, one page that needs nothing but a browser.

    LOG is what `viztool.monitor(net, optimizer, log="run.jsonl")` writes; the training may still run. Several are
    compared on one page.
    """
    from viztool.monitor.report import SUFFIXES, compare_logs, read_log

    if follow:
        if len(logs) > 1:
            raise click.UsageError("--follow shows one log; give one")
        _follow(logs[0])
        return
    name = Path(logs[0]).with_suffix(".html").name
    folder = output is not None and (Path(output).is_dir() or output.endswith(("/", "\\")))
    target = Path(name) if output is None else Path(output, name) if folder else Path(output)
    if len(logs) > 1 and target.suffix.lower() not in SUFFIXES:
        raise click.UsageError("several logs are compared on a page; give a name that ends in .html")
    refuse_existing(target, force)
    batch = Batch(as_json, quiet, open_it)
    with batch.attempt(logs[0]):
        report = read_log(logs[0]) if len(logs) == 1 else compare_logs(list(logs))
        batch.wrote(report, report.save(target, force=force))
        if not as_json and not quiet:
            click.echo(report.in_words, err=True)
    batch.finish("monitor")


_PAUSE = 1.0  # seconds between two looks


def _follow(log: str) -> None:
    from rich.console import Console
    from rich.live import Live

    from viztool.monitor.live import Following

    following = Following(log)
    if not Console().is_terminal:
        click.echo(following.in_words())
        return
    try:
        with Live(following.look(), auto_refresh=False) as live:
            while True:
                time.sleep(_PAUSE)
                live.update(following.look(), refresh=True)
    except KeyboardInterrupt:
        pass
