"""`viztool kernels`: what the units of a layer look for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from viztool.cli.batch import Batch, refuse_existing
from viztool.cli.errors import reported
from viztool.cli.options import complete_layer, load, model_options

if TYPE_CHECKING:
    from viztool.kernels import KernelSheet
    from viztool.kernels.ascent import Callback, Progress
    from viztool.kernels.store import FolderStore
    from viztool.models.model import Model

_ALL = "all"


def _channels(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
    """Such as "0-7,12" as numbers; "all" as it is."""
    if value is None or value.strip().lower() == _ALL:
        return value and _ALL
    found: list[int] = []
    for part in value.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or (dash and int(last) < int(first)):
            raise click.BadParameter(f"{value!r} is not channels, such as 3, 0-7,12 or all")
        found += range(int(first), int(last or first) + 1)
    return list(dict.fromkeys(found))


@click.command()
@click.option(
    "-l",
    "--layer",
    metavar="NAME",
    shell_complete=complete_layer,
    help="The layer whose channels are drawn; see `viztool layers`.",
)
@click.option(
    "-c",
    "--channels",
    metavar="N|N-N,...|all",
    callback=_channels,
    help="Which channels. [default: the eight most selective]",
)
@click.option("--target", "targets", multiple=True, metavar="CLASS", help="Draw a class instead. Repeatable.")
@click.option("--steps", type=click.IntRange(min=1), default=256, show_default=True, help="Of gradient ascent.")
@click.option("--photos", metavar="FOLDER", type=click.Path(exists=True), help="Photos to set beside the pictures.")
@click.option("--keep", type=click.IntRange(min=1), default=4, show_default=True, help="Photos of each channel.")
@click.option("--spread", is_flag=True, help="Also the photos that excite it least, and random ones.")
@click.option(
    "--param",
    "parameterization",
    type=click.Choice(["fourier", "pixels", "maco", "laplacian", "cppn"]),
    default="fourier",
    show_default=True,
    help="What pictures are made from.",
)
@click.option("--negative/--no-negative", default=None, help="Also draw the opposite. [default: of channels]")
@click.option("--rank", type=click.IntRange(min=1), metavar="N", help="Draw so many singular patterns of the weights.")
@click.option("--judge", metavar="NAME", help="A second network that says what it makes of each class's picture.")
@click.option("--each", is_flag=True, help="Also write each picture by itself, into a folder beside the sheet.")
@click.option("--alpha", is_flag=True, help="With --each: transparent where the ascent worked least.")
@click.option("--gif", is_flag=True, help="Also write a film of how the pictures grow.")
@click.option("--save-every", type=click.IntRange(min=1), metavar="N", help="Also write what they are every N steps.")
@model_options
@click.option("-o", "--output", metavar="FILE", help="The file to write. [default: LAYER_kernels.png]")
@click.option("--force", is_flag=True, help="Replace files that exist.")
@click.option("--json", "as_json", is_flag=True, help="Print a manifest with every number, and nothing else.")
@click.option("--open", "open_it", is_flag=True, help="Show the picture when it is done.")
@click.option("--npz", is_flag=True, help="Also write the pictures as arrays.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
@click.option("-v", "--verbose", is_flag=True, help="Say more on stderr.")
@reported
def kernels(
    layer: str | None,
    channels: Any,
    targets: tuple[str, ...],
    output: str | None,
    force: bool,
    as_json: bool,
    open_it: bool,
    npz: bool,
    quiet: bool,
    verbose: bool,
    each: bool,
    alpha: bool,
    gif: bool,
    save_every: int | None,
    judge: str | None,
    **options: Any,
) -> None:
    """Draw what the channels of a layer look for: their weights, the picture that excites each most, photos that do.

    One sheet. --size is the side of the pictures: by default 128, and for classes that of the network's photos.
    A run that is interrupted goes on where it was
    when it is called again.
    """
    if (layer is None) == (not targets):
        raise click.UsageError("name a layer with -l, or classes with --target")
    if alpha and not each:
        raise click.UsageError("--alpha is of single pictures: add --each")
    target = Path(output or f"{(layer or 'classes').replace('/', '_').replace('*', '_')}_kernels.png")
    film = target.with_suffix(".gif")
    unfinished = target.with_name(f".{target.name}.unfinished")
    force = force or unfinished.exists()  # what is there then is this run's own, as far as it came
    for path in (target, *([film] if gif else []), *([target.with_suffix(".npz")] if npz else [])):
        refuse_existing(path, force)
    settings = {key: options.pop(key) for key in ("steps", "photos", "keep", "spread", "parameterization", "rank")}
    settings |= {"negative": options.pop("negative"), "seed": options["seed"], "size": options.pop("size")}
    options["size"] = None
    model = load(options)
    second = None if judge is None else _judge(judge)
    batch = Batch(as_json, quiet, open_it)
    from viztool.kernels.growth import Growth, spaced

    steps = settings["steps"]
    both = not targets if settings["negative"] is None else settings["negative"]
    grown = Growth(spaced(steps), every=1 + both) if gif else None
    saved = Growth([*range(save_every, steps, save_every), steps], every=1 + both) if save_every else None
    watchers = [watcher for watcher in (grown, saved) if watcher is not None]
    sheet, store = _draw(model, layer, channels, targets, settings, second, unfinished, watchers, quiet)
    interrupted = [kernel.label for kernel in sheet.kernels if kernel.optimum.status == "interrupted"]
    if len(interrupted) == len(sheet):
        raise click.ClickException("interrupted before any picture was finished; nothing is written")
    written = [sheet.save(target, force=force)]
    if npz:
        written.append(sheet.save_npz(target.with_suffix(".npz"), force=force))
    if each:
        written += sheet.save_each(target.with_suffix(""), alpha=alpha, force=force)
    if grown is not None:
        written.append(grown.save(film, force=force))
    if saved is not None:
        written += saved.save_frames(target.with_name(f"{target.stem}_steps"), force=force)
    batch.wrote(sheet, *written)
    if verbose:
        click.echo(sheet.in_words, err=True)
    left = len(sheet.asked) - len(sheet) + len(interrupted)
    if not left:
        store.discard()
    batch.finish("kernels")
    if left:
        click.echo(f"interrupted: {left} of {len(sheet.asked)} not finished; the same command goes on there", err=True)
        sys.exit(1)


def _judge(name: str) -> Model:
    from viztool.models import load_model

    return load_model(name)


def _draw(
    model: Model,
    layer: str | None,
    channels: Any,
    targets: Sequence[str],
    settings: dict[str, Any],
    judge: Model | None,
    unfinished: Path,
    watchers: Sequence[Callback],
    quiet: bool,
) -> tuple[KernelSheet, FolderStore]:
    from viztool.kernels import visualize_kernels
    from viztool.kernels.store import FolderStore
    from viztool.kernels.units import every_channel

    if channels == _ALL and layer is not None:
        channels = every_channel(model, layer, settings["size"])
    what = {**settings, "layer": layer, "channels": channels, "targets": list(targets)}
    store = FolderStore(unfinished, model, what)
    with _progress(quiet, settings["photos"]) as (advance, photo_seen):

        def callback(progress: Progress) -> None:
            advance(progress)
            for watcher in watchers:
                watcher(progress)

        sheet = visualize_kernels(
            model,
            layer,
            channels,
            targets=list(targets) or None,
            judge=judge,
            store=store,
            callback=callback,
            photo_callback=photo_seen,
            **settings,
        )
    return sheet, store


@contextmanager
def _progress(quiet: bool, photos: str | None) -> Iterator[tuple[Callback, Callable[[int], None]]]:
    """Bars with the time left on stderr, if that is a terminal: for steps, and for photos seen so far."""
    if quiet or not sys.stderr.isatty():
        yield lambda progress: None, lambda seen: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    from viztool.images import find_images

    percent = TextColumn("{task.percentage:>3.0f} %")
    columns = (TextColumn("{task.description}"), BarColumn(), percent, TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        looking = None if photos is None else bar.add_task("photos", total=len(find_images([photos])))
        begun: list[int] = []
        task = bar.add_task("pictures", total=None)

        def advance(progress: Progress) -> None:
            done = progress.indices.start * progress.steps
            # What an earlier run has finished took no time in this one, and must not count as speed.
            if not begun:
                begun.append(done)
            total = progress.total * progress.steps - begun[0]
            bar.update(task, total=total, completed=done + len(progress.indices) * progress.step - begun[0])

        def photo_seen(seen: int) -> None:
            if looking is not None:
                bar.update(looking, completed=seen)

        yield advance, photo_seen
