"""Measure what viztool costs beside what one would do without it, and print one table.

    python scripts/benchmark.py [--only PATTERN] [--repeats N] [--markdown] [--json FILE]

Each figure is the median of ratios of two works that are run in turn, so it says the same on a busy machine.
"""

from __future__ import annotations

import fnmatch
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # before torch is imported: threads that spin while they wait would be timed
os.environ["KINETO_LOG_LEVEL"] = "99"  # the memory profiler would say on stderr that it finds no GPU

import click
import numpy as np
import torch
import torchvision
from _contest import (
    FAILED,
    Contest,
    Figure,
    NotHereError,
    Outcome,
    Row,
    Work,
    as_markdown,
    as_table,
    machine,
    measure,
)
from _memory import keep_freed_memory, peak_memory, seconds_in_new_memory
from rich.console import Console
from torch import Tensor, nn

from viztool import capture
from viztool.images import png_bytes
from viztool.render.colormaps import Map
from viztool.render.sheet import Band, Header, Sheet, contact_sheet
from viztool.render.tiles import Tile

PHOTO = Path(__file__).parents[1] / "gallery" / "inputs" / "cat.jpg"
FORWARD = "plain forward"
MEMORY_IS_KEPT = keep_freed_memory()
ROWS: list[Row] = []

MakeContest = Callable[[ExitStack], Contest]


def row(
    what: str, against: str, *, figure: Figure = "cost", mark: float | None = None, pairs: int = 20
) -> Callable[[MakeContest], MakeContest]:
    """Make a function that gives a Contest a row of the table; see `Row`."""

    def add(contest: MakeContest) -> MakeContest:
        ROWS.append(Row(what, against, figure, mark, pairs, contest))
        return contest

    return add


# Capture


@cache
def resnet50() -> tuple[nn.Module, Tensor]:
    """A network with random weights and four pictures of noise: speed depends on neither."""
    torch.manual_seed(0)
    return torchvision.models.resnet50().eval(), torch.rand(4, 3, 224, 224)


@torch.no_grad()
def forward() -> None:
    net, x = resnet50()
    net(x)


def captured(layers: str | None, **options: Any) -> Work:
    """The same forward, with these layers captured."""

    @torch.no_grad()
    def work() -> None:
        net, x = resnet50()
        with capture(net, layers, **options):
            net(x)

    return work


@row("capture: one layer", FORWARD, mark=1.03, pairs=30)
def one_layer(_: ExitStack) -> Contest:
    return Contest(captured("layer3.0.conv2"), forward)


@row("capture: stop at layer2", FORWARD, mark=0.56)
def early_stop(_: ExitStack) -> Contest:
    return Contest(captured("layer2", stop=True), forward)


@row("capture: all leaves, copied", FORWARD, mark=1.15)
def all_leaves(_: ExitStack) -> Contest:
    return Contest(captured(None), forward)


@row("capture: all leaves, the hooks alone", "own hooks that clone", pairs=10)
def all_leaves_beside_clones(_: ExitStack) -> Contest:
    return Contest(captured(None), forward_with_clones)


@torch.no_grad()
def forward_with_clones() -> None:
    """The least that a copy of every leaf costs."""
    net, x = resnet50()
    kept: list[Tensor] = []
    leaves = [module for module in net.modules() if not list(module.children())]
    hooks = [leaf.register_forward_hook(lambda _module, _args, output: kept.append(output.clone())) for leaf in leaves]
    net(x)
    for hook in hooks:
        hook.remove()


@row("capture: all leaves, copied to new memory", "plain forward in new memory", pairs=8)
def all_leaves_in_new_memory(_: ExitStack) -> Contest:
    if not MEMORY_IS_KEPT:
        raise NotHereError("only glibc can be told to give memory back")
    return Contest(captured(None), forward, seconds_in_new_memory, "as on the first photo")


@row("torchlens: log of the forward", FORWARD, pairs=5)
def torchlens_log(_: ExitStack) -> Contest:
    try:
        import torchlens
    except ImportError:
        raise NotHereError("torchlens is not installed; pip install '.[bench]'") from None

    @torch.no_grad()
    def work() -> None:
        torchlens.trace(*resnet50())

    return Contest(work, forward)


@row("capture: all leaves, reduced; peak memory", FORWARD, pairs=1)
def reduced(_: ExitStack) -> Contest:
    means = captured(None, reduce=lambda maps: maps.flatten(2).mean(2) if maps.ndim == 4 else maps)
    copied = peak_memory(captured(None)) / peak_memory(forward)
    return Contest(means, forward, peak_memory, f"not reduced, {copied:.1f} ×")


# Drawing


@row("draw 512 maps of 28 × 28 as PNG", "matplotlib, one axis per channel", figure="gain", mark=12, pairs=7)
def drawing(_: ExitStack) -> Contest:
    maps = np.random.default_rng(0).standard_normal((512, 28, 28), np.float32)
    return Contest(lambda: sheet_png(maps), lambda: matplotlib_png(maps))


def sheet_png(maps: Map) -> bytes:
    """A contact sheet with a labelled tile for each of the maps (C, h, w)."""
    tiles = [Tile(values, float(np.abs(values).max()), f"#{channel}") for channel, values in enumerate(maps)]
    header = Header("maps", "", np.zeros((224, 224, 3), np.uint8), None, [], [])
    return png_bytes(contact_sheet(Sheet(header, [Band("layer", [], tiles, True, ("−max", "0", "max"))], "")))


def matplotlib_png(maps: Map) -> bytes:
    """The same with matplotlib, and without a word: labels would make it slower still."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as MatplotlibFigure

    figure = MatplotlibFigure(figsize=(16, 32), dpi=80)
    FigureCanvasAgg(figure)
    for axis, values in zip(figure.subplots(32, 16).flat, maps, strict=True):
        axis.imshow(values, cmap="RdBu_r")
        axis.axis("off")
    file = BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


# Whole processes


@row("viztool features cat.jpg, whole process", "import torch, torchvision, timm", mark=1.35, pairs=9)
def features_process(stack: ExitStack) -> Contest:
    target = Path(stack.enter_context(tempfile.TemporaryDirectory()), "sheet.png")
    ours = [viztool_command(), "features", str(PHOTO), "-o", str(target), "--force"]
    theirs = [sys.executable, "-c", "import torch, torchvision, timm"]
    return Contest(lambda: run(ours), lambda: run(theirs))


@row("viztool --help, whole process", "", figure="seconds", mark=0.25, pairs=15)
def help_process(_: ExitStack) -> Contest:
    imports = run([sys.executable, "-X", "importtime", "-m", "viztool", "--help"]).stderr
    if "torch" in {line.rpartition("|")[2].strip() for line in imports.splitlines()}:
        raise RuntimeError("viztool --help imports torch")
    command = [viztool_command(), "--help"]
    return Contest(lambda: run(command), None, note="torch is not imported")


def viztool_command() -> str:
    """The command that is installed beside this Python."""
    path = Path(sysconfig.get_path("scripts"), "viztool")
    if not path.exists():
        raise NotHereError(f"there is no {path}; pip install .")
    return str(path)


def run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end. RuntimeError with its last words if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2]
        raise RuntimeError(f"{' '.join(command[:3])} … failed: {last}")
    return done


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
