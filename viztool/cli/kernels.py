"""`viztool kernels`: what the units of a layer look for."""

from __future__ import annotations

import shutil
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
    from viztool.kernels.bands import KernelBands
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
    "layers",
    multiple=True,
    metavar="NAME",
    shell_complete=complete_layer,
    help="The layer whose channels are drawn; see `viztool layers`. Repeatable: a band for each.",
)
@click.option(
    "-c",
    "--channels",
    metavar="N|N-N,...|all",
    callback=_channels,
    help="Which channels. [default: the eight most selective]",
)
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="CLASS",
    help="Draw a class. Repeatable; after layers, their last band.",
)
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
@click.option(
    "--compare",
    type=click.Choice(["param", "transforms", "redirect"]),
    help="Draw each unit in several ways: from everything that --param knows; with one kind of transform left out; "
    "without what wakes up a dead unit.",
)
@click.option(
    "--negative/--no-negative", default=None, help="Also draw the opposite. [default: of one layer's channels]"
)
@click.option("--rank", type=click.IntRange(min=1), metavar="N", help="Draw so many singular patterns of the weights.")
@click.option("--judge", metavar="NAME", help="A second network that says what it makes of each class's picture.")
@click.option("--each", is_flag=True, help="Also write each picture by itself, into a folder beside the sheet.")
@click.option("--alpha", is_flag=True, help="With --each: transparent where the ascent worked least.")
@click.option("--gif", is_flag=True, help="Also write a film of how the pictures grow; alone, with -o FILE.gif.")
@click.option("--save-every", type=click.IntRange(min=1), metavar="N", help="Also write what they are every N steps.")
@model_options
@click.option(
    "-o", "--output", metavar="FILE", help="The file to write; a .gif is a film. [default: LAYER_kernels.png]"
)
@click.option("--force", is_flag=True, help="Replace files that exist.")
@click.option("--json", "as_json", is_flag=True, help="Print a manifest with every number, and nothing else.")
@click.option("--open", "open_it", is_flag=True, help="Show the picture when it is done.")
@click.option("--npz", is_flag=True, help="Also write the pictures as arrays.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
@click.option("-v", "--verbose", is_flag=True, help="Say more on stderr.")
@reported
def kernels(
    layers: tuple[str, ...],
    channels: Any,
    targets: tuple[str, ...],
    compare: str | None,
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

    One sheet; of several layers, a band for each. --size is the side of the pictures: by default 128, and for classes
    that of the network's photos.
    A run that is interrupted goes on where it was
    when it is called again.
    """
    groups = [*layers, *([None] if targets else [])]
    if not groups:
        raise click.UsageError("name a layer with -l, or classes with --target")
    if compare is not None and len(groups) > 1:
        raise click.UsageError("--compare takes one layer, or classes")
    if alpha and not each:
        raise click.UsageError("--alpha is of single pictures: add --each")
    in_bands = compare is not None or len(groups) > 1
    target = Path(output or f"{_stem(layers, in_bands)}_kernels.png")
    only_film = target.suffix.lower() == ".gif"
    film = target.with_suffix(".gif")
    if in_bands and (gif or only_film or save_every or options["rank"] or options["spread"]):
        raise click.UsageError("--gif, --save-every, --rank and --spread take one layer, or classes, and no --compare")
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
    if in_bands:
        bands = _bands(model, groups, channels, targets, compare, settings, second, unfinished, quiet)
        written = [bands.save(target, force=force)]
        if npz:
            written.append(bands.save_npz(target.with_suffix(".npz"), force=force))
        if each:
            written += bands.save_each(target.with_suffix(""), alpha=alpha, force=force)
        batch.wrote(bands, *written)
        if verbose:
            click.echo(bands.in_words, err=True)
        shutil.rmtree(unfinished, ignore_errors=True)
        batch.finish("kernels")
        return
    from viztool.kernels.growth import Growth, spaced

    steps = settings["steps"]
    both = not targets if settings["negative"] is None else settings["negative"]
    grown = Growth(spaced(steps), every=1 + both) if gif or only_film else None
    saved = Growth([*range(save_every, steps, save_every), steps], every=1 + both) if save_every else None
    watchers = [watcher for watcher in (grown, saved) if watcher is not None]
    if watchers:  # which must see every step
        shutil.rmtree(unfinished, ignore_errors=True)
    what = {**settings, "layer": groups[0], "channels": channels, "targets": list(targets) or None}
    sheet = _draw(model, what, second, unfinished, watchers, quiet)
    interrupted = _interrupted(sheet)
    if interrupted == len(sheet):
        raise click.ClickException("interrupted before any picture was finished; nothing is written")
    written = [] if only_film else [sheet.save(target, force=force)]
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
    left = len(sheet.asked) - len(sheet) + interrupted
    if watchers or not left:
        shutil.rmtree(unfinished, ignore_errors=True)
    batch.finish("kernels")
    if left:
        goes_on = "" if watchers else "; the same command goes on there"
        click.echo(f"interrupted: {left} of {len(sheet.asked)} not finished{goes_on}", err=True)
        sys.exit(1)


def _stem(layers: Sequence[str], in_bands: bool) -> str:
    """What the file is called by, where it is not said."""
    if in_bands and len(layers) > 1:
        return "layers"
    return (layers[0] if layers else "classes").replace("/", "_").replace("*", "_")


def _judge(name: str) -> Model:
    from viztool.models import load_model

    return load_model(name)


def _interrupted(sheet: KernelSheet) -> int:
    return sum(kernel.optimum.status == "interrupted" for kernel in sheet.kernels)


def _bands(
    model: Model,
    groups: Sequence[str | None],
    channels: Any,
    targets: Sequence[str],
    compare: str | None,
    settings: dict[str, Any],
    judge: Model | None,
    unfinished: Path,
    quiet: bool,
) -> KernelBands:
    """A sheet for each layer, or for each way that a comparison draws one in; nothing of them if interrupted."""
    from viztool.kernels.bands import COMPARISONS, KernelBands, variants

    def what(layer: str | None) -> dict[str, Any]:
        own = {"channels": channels, "targets": None} if layer else {"channels": None, "targets": list(targets)}
        return {**settings, "negative": bool(settings["negative"]), "layer": layer, **own}

    if compare is None:
        parts = {layer or "classes": what(layer) for layer in groups}
    else:
        ways = variants(compare, settings["parameterization"])
        parts = {name: {**what(groups[0]), **way} for name, way in ways.items()}
    sheets = {}
    for number, (name, part) in enumerate(parts.items()):
        sheet = _draw(model, part, judge, unfinished / str(number), [], quiet, name)
        if _interrupted(sheet) or len(sheet) < len(sheet.asked):
            raise click.ClickException("interrupted; nothing is written yet, and the same command goes on there")
        sheets[name] = sheet
    return KernelBands(sheets) if compare is None else KernelBands(sheets, "unit", COMPARISONS[compare])


def _draw(
    model: Model,
    what: dict[str, Any],
    judge: Model | None,
    unfinished: Path,
    watchers: Sequence[Callback],
    quiet: bool,
    name: str = "pictures",
) -> KernelSheet:
    """what: keywords of `visualize_kernels`, ready for JSON. name: beside the bar."""
    from viztool.kernels import visualize_kernels
    from viztool.kernels.store import FolderStore
    from viztool.kernels.units import every_channel

    if what["channels"] == _ALL:
        what = {
            **what,
            "channels": None if what["layer"] is None else every_channel(model, what["layer"], what["size"]),
        }
    store = FolderStore(unfinished, model, what)
    with _progress(quiet, what["photos"], name) as (advance, photo_seen):

        def callback(progress: Progress) -> None:
            advance(progress)
            for watcher in watchers:
                watcher(progress)

        return visualize_kernels(model, judge=judge, store=store, callback=callback, photo_callback=photo_seen, **what)


@contextmanager
def _progress(quiet: bool, photos: str | None, name: str) -> Iterator[tuple[Callback, Callable[[int], None]]]:
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
        task = bar.add_task(name, total=None)

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
