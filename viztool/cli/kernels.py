"""`viztool kernels`: what the units of a layer look for."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from viztool.cli.ascents import ALL, Asked, Drawer, interrupted, unfinished
from viztool.cli.batch import STDOUT, Batch, check_output, refuse_existing, save
from viztool.cli.checks import check_layers
from viztool.cli.errors import reported, usage
from viztool.cli.options import complete_layer, load, model_options

if TYPE_CHECKING:
    from viztool.kernels import KernelSheet
    from viztool.kernels.bands import KernelBands
    from viztool.models.model import Model


def _channels(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> Any:
    """Such as "0-7,12" as numbers; "all" as it is."""
    value = ",".join(values)
    if not values or value.strip().lower() == ALL:
        return ALL if values else None
    found: list[int] = []
    for part in value.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or (dash and int(last) < int(first)):
            raise click.BadParameter(f"{value!r} is not channels, such as 3, 0-7,12 or all")
        found += range(int(first), int(last or first) + 1)
    return list(dict.fromkeys(found))


@dataclass(frozen=True)
class _Files:
    """What is to be written."""

    target: Path
    force: bool
    npz: bool
    each: bool
    alpha: bool
    gif: bool
    save_every: int | None

    @property
    def only_film(self) -> bool:
        """Whether there is to be no sheet."""
        return self.target.suffix.lower() in (".gif", ".mp4")

    @property
    def several(self) -> bool:
        """Whether there is more than the one file."""
        return bool(self.npz or self.each or self.gif or self.save_every)

    @property
    def film(self) -> Path | None:
        """Where one is asked for."""
        if self.only_film:
            return self.target
        return self.target.with_suffix(".gif") if self.gif else None

    @property
    def unfinished(self) -> Path:
        """Where pictures are kept until all are done."""
        return self.target.with_name(f".{self.target.name}.unfinished")

    def refuse_existing(self) -> None:
        """Before anything is drawn."""
        for path in dict.fromkeys([self.target, self.film, self.target.with_suffix(".npz") if self.npz else None]):
            if path is not None:
                refuse_existing(path, self.force)

    def write(self, drawn: KernelSheet | KernelBands) -> list[Path]:
        """All but films."""
        written = [] if self.only_film else [save(drawn, self.target, self.force)]
        if self.npz:
            written.append(drawn.save_npz(self.target.with_suffix(".npz"), force=self.force))
        if self.each:
            written += drawn.save_each(self.target.with_suffix(""), alpha=self.alpha, force=self.force)
        return written


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
    multiple=True,
    callback=_channels,
    help="Which channels. Repeatable. [default: the eight most selective]",
)
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="CLASS",
    help="Draw a class. Repeatable; after layers, their last band.",
)
@click.option("--neuron", is_flag=True, help="Draw one unit of each channel, in the middle, not the channel's mean.")
@click.option(
    "--direction",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="Draw a direction in the layer's channels, or several: a .npy file, or numbers in text, a row for each.",
)
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    help="Of gradient ascent. [default: 384; classes 256, first layers 128 or 256]",
)
@click.option("--photos", metavar="FOLDER", type=click.Path(exists=True), help="Photos to set beside the pictures.")
@click.option("--keep", type=click.IntRange(min=1), default=4, show_default=True, help="Photos of each channel.")
@click.option("--spread", is_flag=True, help="Also the photos that excite it least, and random ones.")
@click.option(
    "--check",
    is_flag=True,
    help="With --photos: whether each optimum takes the path through the network that its top photos take.",
)
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
    "-o",
    "--output",
    metavar="FILE",
    help="The file to write; a .gif or .mp4 is a film, and - standard output. [default: LAYER_kernels.png]",
)
@click.option("--force", is_flag=True, help="Replace files that are not viztool's.")
@click.option("--json", "as_json", is_flag=True, help="Print a manifest with every number, and nothing else.")
@click.option("--open", "open_it", is_flag=True, help="Show the picture when it is done.")
@click.option("--npz", is_flag=True, help="Also write the pictures as arrays.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
@click.option("-v", "--verbose", is_flag=True, help="Say more on stderr.")
@reported
def kernels(
    output: str | None,
    force: bool,
    as_json: bool,
    open_it: bool,
    quiet: bool,
    verbose: bool,
    judge: str | None,
    rank: int | None,
    **options: Any,
) -> None:
    """Draw what the channels of a layer look for: their weights, the picture that excites each most, photos that do.

    One sheet; of several layers, a band for each. --size is the side of the pictures: by default 128, and for classes
    that of the network's photos.
    A run that is interrupted goes on where it was
    when it is called again.
    """
    asked = Asked(**{field.name: options[field.name] for field in fields(Asked)})
    batch = Batch(as_json, quiet, open_it)
    check_output(output, batch, npz=options["npz"], films=True)
    target = Path(output or f"{_stem(asked)}_kernels.png")
    files = _Files(target, force, **{key: options[key] for key in ("npz", "each", "alpha", "gif", "save_every")})
    _check(asked, files, rank)
    if files.unfinished.exists():
        files = replace(files, force=True)  # what is there is this run's own, as far as it came
    files.refuse_existing()
    model = load({**options, "size": None})
    from viztool.targets.checking import check_targets

    with usage():
        check_layers(model, asked.layers)
        check_targets(model, asked.targets)
    drawer = Drawer(model, asked, None if judge is None else _judge(judge), files.unfinished, quiet)
    drawn, left = _bands(drawer, files, batch) if asked.in_bands else _sheet(drawer, files, rank, batch)
    if verbose:
        click.echo(drawn.in_words, err=True)
    batch.finish("kernels")
    if left:
        click.echo(left, err=True)
        sys.exit(1)


def _check(asked: Asked, files: _Files, rank: int | None) -> None:
    """Raise UsageError for what does not go together."""
    if not asked.groups:
        raise click.UsageError("name a layer with -l, or classes with --target")
    if asked.compare is not None and len(asked.groups) > 1:
        raise click.UsageError("--compare takes one layer, or classes")
    if str(files.target) == STDOUT and files.several:
        raise click.UsageError("-o - writes one picture; --npz, --each, --gif and --save-every write more")
    single = asked.targets or asked.in_bands or asked.channels is not None or asked.photos or asked.neuron
    if asked.direction is not None and single:
        raise click.UsageError("--direction takes one layer, and no -c, --target, --photos, --compare and --neuron")
    if asked.check and (not asked.photos or asked.in_bands or asked.keep < 2):
        raise click.UsageError("--check compares with photos: give --photos, and at least two of them (--keep)")
    if asked.neuron and not asked.layers:
        raise click.UsageError("--neuron is of a layer: name it with -l")
    if files.alpha and not files.each:
        raise click.UsageError("--alpha is of single pictures: add --each")
    if asked.in_bands and (files.film or files.save_every or rank or asked.spread):
        raise click.UsageError("--gif, --save-every, --rank and --spread take one layer, or classes, and no --compare")


def _stem(asked: Asked) -> str:
    """What the file is called by, where it is not said."""
    if asked.in_bands and len(asked.layers) > 1:
        return "layers"
    return (asked.layers[0] if asked.layers else "classes").replace("/", "_").replace("*", "_")


def _judge(name: str) -> Model:
    from viztool.models import load_model

    return load_model(name)


def _bands(drawer: Drawer, files: _Files, batch: Batch) -> tuple[KernelBands, str]:
    """Draw and write them."""
    bands = drawer.bands()
    batch.wrote(bands, *files.write(bands))
    shutil.rmtree(files.unfinished, ignore_errors=True)
    return bands, ""


def _sheet(drawer: Drawer, files: _Files, rank: int | None, batch: Batch) -> tuple[KernelSheet, str]:
    """Draw and write it, and say what is left to do if the run was interrupted."""
    from viztool.kernels.growth import Growth, spaced

    steps, every = drawer.steps, 2 if drawer.asked.both else 1
    film = Growth(spaced(steps), every=every) if files.film else None
    saved = (
        Growth([*range(files.save_every, steps, files.save_every), steps], every=every) if files.save_every else None
    )
    watchers = [watcher for watcher in (film, saved) if watcher is not None]
    if watchers:  # which must see every step
        shutil.rmtree(files.unfinished, ignore_errors=True)
    sheet = replace(drawer.sheet(watchers), rank=rank)
    if interrupted(sheet) == len(sheet):
        raise click.ClickException("interrupted before any picture was finished; nothing is written")
    written = files.write(sheet)
    if film is not None and files.film is not None:
        labels = [kernel.label for kernel in sheet.kernels]
        written.append(film.save(files.film, labels=labels, force=files.force))
    if saved is not None:
        written += saved.save_frames(files.target.with_name(f"{files.target.stem}_steps"), force=files.force)
    batch.wrote(sheet, *written)
    left = unfinished(sheet)
    if watchers or not left:
        shutil.rmtree(files.unfinished, ignore_errors=True)
    goes_on = "" if watchers else "; the same command goes on there"
    return sheet, f"interrupted: {left} of {len(sheet.asked)} not finished{goes_on}" if left else ""
