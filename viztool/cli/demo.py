"""`viztool demo`: the claims of the textbooks, drawn and tested."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from viztool.cli.batch import STDIN, STDOUT, Batch, check_output, output_options, photos_of, refuse_existing, save
from viztool.cli.errors import WrongUsageError, reported, usage
from viztool.cli.options import load, model_options
from viztool.cli.progress import progress

if TYPE_CHECKING:
    from viztool.demos import Demo, DemoResult
    from viztool.models.model import Model

_OWN = ("kernel", "ksize", "border", "stride", "padding", "dilation", "transposed", "size")
"""The options of single demos; --size is also a network's."""

_NETWORK = ("model", "weights", "classes", "mean", "std", "channel_order", "value_range", "resize", "output_is", "size")
"""The options that say which network, and how it takes a photo."""


def complete_demo(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from viztool.demos import demos

    return [name for name in demos() if name.startswith(incomplete)]


@click.command()
@click.argument("name", required=False, metavar="[NAME]", shell_complete=complete_demo)
@click.argument("paths", nargs=-1, metavar="[PHOTO]...")
@click.option("-r", "--recursive", is_flag=True, help="Also the pictures in folders inside a folder.")
@click.option("--all", "every", is_flag=True, help="Every demo, into the folder of -o.")
@click.option("--kernel", metavar="ROWS|FILE|N", help='sobel: "1 0 -1; 2 0 -2; 1 0 -1". Others: its side.')
@click.option("--ksize", type=int, metavar="N", help="sobel: -1 (Scharr), 1, 3, 5 or 7.")
@click.option("--border", metavar="NAME", help="sobel: reflect-101, reflect, replicate or constant, as in OpenCV.")
@click.option("--stride", type=int, metavar="N", help="convolution, checkerboard.")
@click.option("--padding", type=int, metavar="N", help="convolution.")
@click.option("--dilation", type=int, metavar="N", help="convolution.")
@click.option("--slide", is_flag=True, help="One picture and its sentence, 16:9, for a lecture.")
@click.option("--transposed", is_flag=True, default=None, help="convolution: the transposed one.")
@model_options
@output_options
@reported
def demo(name: str | None, paths: tuple[str, ...], every: bool, **options: Any) -> None:
    """Show a textbook claim on a photo: what it says, what is true of it, and where it fails.

    \b
    viztool demo                       list the demos, their claims and verdicts
    viztool demo checkerboard          draw one, on a photo that comes with viztool
    viztool demo sobel cat.jpg         draw it on yours: cat_sobel.png
    viztool demo sobel --slide         one picture of it for a lecture: sobel_slide.png
    viztool demo checkerboard -m NET   ask the question of your network
    viztool demo --all -o demos/       draw all

    A demo checks every number that it claims, and fails if one is wrong.
    """  # noqa: D301 (click's own mark for lines that stay as they are)
    as_slide = options.pop("slide")
    own = {key: options.pop(key) for key in _OWN}
    own = {key: value for key, value in own.items() if value is not None}
    size = own.pop("size", None)
    batch = Batch(options.pop("as_json"), options.pop("quiet"), options.pop("open_it"))
    if name is None and not every:
        if as_slide or own:
            word = "slide" if as_slide else next(iter(own))
            raise WrongUsageError(f"--{word} is of a demo: name it; `viztool demo` lists them")
        _list(batch)
        return
    if every and name is not None:
        paths, name = (name, *paths), None
    _draw(batch, name, paths, own, size, options, as_slide=as_slide)
    batch.finish("demo")


# What --size says of a network, N or H,W, and of the convolution that is drawn, HxW.
demo.params = [
    click.Option(["--size"], metavar="N|HxW", help="convolution: of its input. Else side of the network's input.")
    if param.name == "size"
    else param
    for param in demo.params
]


def _list(batch: Batch) -> None:
    from viztool.demos import CLAIMS, demos, network_demos

    if batch.as_json:
        click.echo(json.dumps({number: vars(claim) for number, claim in CLAIMS.items()}, indent=2, ensure_ascii=False))
        return
    for one in demos().values():
        asks = "  (also of a network: -m)" if one.name in network_demos() else ""
        click.echo(f"{one.name}{asks}")
        for number in one.claims:
            click.echo(f"  {number:2d} {CLAIMS[number].verdict:11s} {CLAIMS[number].sentence}")


def _draw(
    batch: Batch,
    name: str | None,
    paths: Sequence[str],
    own: dict[str, Any],
    size: str | None,
    options: dict[str, Any],
    *,
    as_slide: bool,
) -> None:
    # Read when torch is imported: threads that wait without sleeping make many small steps many times slower on a
    # busy machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from viztool.demos import demos, network_demos, run_demo
    from viztool.demos.command import command_of
    from viztool.demos.registry import check_options, find, find_on_network

    output, force, npz, verbose = (options.pop(key) for key in ("output", "force", "npz", "verbose"))
    if npz:
        raise click.UsageError("a demo has no raw maps; its numbers come with --json")
    seed = options["seed"]
    of_network = options["model"] is not None
    check_output(output, batch, films=True)
    with usage():
        todo = [find(each) for each in (network_demos() if of_network else demos())] if name is None else [find(name)]
        # Before a network is loaded, which may take long.
        tells = [(find_on_network(one.name) if of_network else one).tell for one in todo]
    if len(todo) > 1:
        own = {}
    elif "size" in todo[0].options and size is not None:
        own["size"] = size
    with usage():
        given = {key: _as_taken(todo[0], key, value) for key, value in own.items()}
        if len(todo) == 1:
            check_options(todo[0].name, tells[0], given)
    photos = _photos(photos_of(paths, options.pop("recursive")))
    network = _network_words(size) if of_network else []
    model = _model(options, size)
    sources = [source for source, _ in photos]
    groups: list[tuple[str, Any]]
    if model is not None:
        groups = [(sources[0] if len(sources) == 1 else "", slice(None))]
    else:
        groups = [(source, slice(at, at + 1)) for at, source in enumerate(sources)] or [("", slice(None))]
    jobs = [(one, source, part) for one in todo for source, part in groups]
    targets = _targets(jobs, output, as_slide=as_slide)
    for (one, source, part), target in progress(list(zip(jobs, targets, strict=True)), quiet=batch.quiet, what="demos"):
        with batch.attempt(f"{one.name} {source}".strip()):
            refuse_existing(target, force)
            chosen = photos[part]
            result: DemoResult = run_demo(
                one.name,
                [photo for _, photo in chosen] or None,
                model=model,
                seed=seed,
                source=[shown for shown, _ in chosen] or "photo",
                **given,
            )
            if of_network:
                shown = [source for source, _ in chosen]
                result = replace(result, command=command_of(one.name, shown, given, seed, network))
            result = result.as_slide() if as_slide else result
            batch.wrote(result, save(result, target, force, suffix=_suffix(one, as_slide=as_slide)))
            if verbose:
                click.echo(result.in_words, err=True)


def _suffix(one: Demo, *, as_slide: bool) -> str:
    return ".gif" if one.moves and not as_slide else ".png"


def _targets(jobs: Sequence[tuple[Demo, str, Any]], output: str | None, *, as_slide: bool) -> list[Path]:
    """One file for each: cat_sobel.png, or sobel.png without a photo of one's own."""
    if output is not None and (output == STDOUT or (Path(output).suffix and not Path(output).is_dir())):
        if len(jobs) == 1:
            return [Path(output)]
        where = "to standard output" if output == STDOUT else f"into the one file {output}"
        raise click.UsageError(f"{len(jobs)} pictures cannot go {where}; give a folder with -o")
    folder = Path(output or ".")
    targets: list[Path] = []
    for one, source, _ in jobs:
        stem = f"{Path(source).stem}_{one.name}" if source else one.name
        stem = f"{stem}_slide" if as_slide else stem
        suffix = _suffix(one, as_slide=as_slide)
        names = (f"{stem}{count}{suffix}" for count in ["", *(f"-{n}" for n in range(2, len(jobs) + 2))])
        targets.append(next(folder / name for name in names if folder / name not in targets))
    return targets


def _photos(paths: Sequence[str]) -> list[tuple[str, Any]]:
    """What each photo is called, and the photo."""
    from viztool.images import read_image

    return [
        ("stdin", read_image(sys.stdin.buffer)) if path == STDIN else (Path(path).name, read_image(path))
        for path in paths
    ]


def _model(options: dict[str, Any], size: str | None) -> Model | None:
    """The network of -m, or None if there is none to ask."""
    if options["model"] is None:
        return None
    sides: tuple[int, ...] | None = None
    if size is not None:
        if not re.fullmatch(r"\d+([,x×]\d+)?", size):
            raise click.BadParameter(f"{size!r} is not a side N, nor a height and a width H,W", param_hint="--size")
        sides = tuple(int(part) for part in re.split("[,x×]", size))
    options["size"] = None if sides is None else sides[0] if len(sides) == 1 else sides
    return load(options)


def _network_words(size: str | None) -> list[str]:
    """The words of the command that name the network."""
    given = {**click.get_current_context().params, "size": size}
    words: list[str] = []
    for name in _NETWORK:
        value = given.get(name)
        if value is not None:
            values = value if isinstance(value, tuple) else (value,)
            words += [f"--{name.replace('_', '-')}", ",".join(map(str, values))]
    return words


def _as_taken(one: Demo, name: str, value: Any) -> Any:
    """A whole number where the demo takes one; the demo itself refuses what it does not have."""
    from viztool.demos import DemoError
    from viztool.demos.sliding import parse_size

    if name == "size":
        parse_size(value)
    if name == "kernel" and isinstance(one.options.get(name), int):
        try:
            return int(value)
        except ValueError:
            raise DemoError(f"--kernel of {one.name} is a whole number, the kernel's side, not {value!r}") from None
    return value
