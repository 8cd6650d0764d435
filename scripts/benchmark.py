"""Measure what viztool costs beside what one would do without it, and print one table.

    python scripts/benchmark.py [--only PATTERN] [--repeats N] [--markdown] [--json FILE]

Each figure is the median of ratios of two works that are run in turn, so it says the same on a busy machine. The
other libraries are in the extra `bench`; a row whose library is not installed says so and is skipped.
"""

from __future__ import annotations

import fnmatch
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # before torch is imported: threads that spin while they wait would be timed
os.environ["KINETO_LOG_LEVEL"] = "99"  # the memory profiler would say on stderr that it finds no GPU

import click
from benchmarks.contest import FAILED, ROWS, Outcome, as_markdown, as_table, machine, measure
from benchmarks.memory import MEMORY_IS_KEPT
from rich.console import Console


@click.command()
@click.option("--only", default="*", metavar="PATTERN", help="Rows whose name holds this, or fits this glob.")
@click.option("--repeats", type=click.IntRange(min=1), help="Pairs for each row. [default: as many as it needs]")
@click.option("--markdown", is_flag=True, help="Print the table in Markdown.")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Also write all figures to this file.")
def main(only: str, repeats: int | None, markdown: bool, file: Path | None) -> None:
    """Measure viztool beside what one would do without it."""
    chosen = [row for row in ROWS if fnmatch.fnmatch(row.what, f"*{only}*")]
    if not chosen:
        raise click.UsageError(f"no row fits {only!r}; there are: {'; '.join(row.what for row in ROWS)}")
    outcomes: list[Outcome] = []
    for each in chosen:
        click.echo(f"{each.what} …", err=True)
        outcomes.append(measure(each, repeats))
    where = machine() | {"freed memory": "kept" if MEMORY_IS_KEPT else "as it comes"}
    words = ", ".join(f"{name} {value}" for name, value in where.items())
    if markdown:
        click.echo(f"{as_markdown(outcomes)}\n\n{words}")
    else:
        console = Console(width=None if sys.stdout.isatty() else 180)
        console.print(as_table(outcomes), words, highlight=False)
    if file is not None:
        report = {"machine": where, "rows": [asdict(outcome) for outcome in outcomes]}
        file.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if any(outcome.verdict == FAILED for outcome in outcomes):
        sys.exit(1)


if __name__ == "__main__":
    main()
