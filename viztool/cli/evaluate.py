"""`viztool evaluate`: which method's heatmaps to believe, over a folder of photos."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from viztool.cli.batch import (
    STDIN,
    STDOUT,
    Batch,
    Job,
    check_output,
    output_options,
    photo_options,
    photos_of,
    refuse_existing,
    save,
)
from viztool.cli.checks import check_layers
from viztool.cli.errors import reported, usage
from viztool.cli.judge import Judged, Run
from viztool.cli.options import complete_layer, load, model_options
from viztool.cli.progress import progress
from viztool.errors import ViztoolError
from viztool.render.numbers import number

if TYPE_CHECKING:
    from viztool.faithfulness.kept import Found
    from viztool.faithfulness.ranking import Trial
    from viztool.models.model import Model

_ALL = "all"
_DEFAULT = ("gradcam", "gradcam++", "layercam", "ablationcam", "eigencam")


def complete_method(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in (_ALL, *_methods()) if name.startswith(incomplete)]


@click.command()
@photo_options
@click.option(
    "--method",
    "methods",
    multiple=True,
    default=_DEFAULT,
    show_default=True,
    metavar="NAME",
    shell_complete=complete_method,
    help="One that `viztool cam` or `viztool attribute` knows. Repeatable, or all (but sscam and iscam).",
)
@click.option("--target", metavar="CLASS", help="A class, by name or index. [default: the predicted one of each photo]")
@click.option(
    "-l",
    "--layer",
    metavar="PATTERN",
    shell_complete=complete_layer,
    help="Of class activation maps: a layer, as in `viztool features`. [default: the last with maps]",
)
@click.option(
    "--steps", type=click.IntRange(min=2), default=16, show_default=True, help="Of insertion and deletion curves."
)
@click.option(
    "--draws", type=click.IntRange(min=2), default=2, show_default=True, help="Random maps beside each heatmap."
)
@click.option(
    "--workers",
    metavar="N|ray",
    help="So many processes; ray or ray://HOST:PORT for a cluster. An interrupted run then goes on where it was.",
)
@model_options
@output_options
@reported
def evaluate(paths: tuple[str, ...], output: str | None, force: bool, verbose: bool, **options: Any) -> None:
    """Rank heatmap methods by how much their maps say of what the network does: a table, and photos_evaluate.png.

    PATH is a picture, a folder of pictures, a glob, or - for standard input. Each map stands beside random ones that
    are as coarse; the methods are in the order of their gain over those.
    """
    batch = Batch(options.pop("as_json"), options.pop("quiet"), options.pop("open_it"))
    methods = _known(options.pop("methods"))
    npz = options.pop("npz")
    check_output(output, batch, npz=npz)
    target = _target(paths, output)
    jobs = [Job(photo, target) for photo in photos_of(paths, options.pop("recursive"))]
    for path in (target, target.with_suffix(".npz")) if npz else (target,):
        refuse_existing(path, force)
    seed, workers = options["seed"], options.pop("workers")
    if workers is not None:
        from viztool.atlas.engines import find_engine

        find_engine(workers)  # wrong usage first, not when the network is loaded
        if any(job.photo == STDIN for job in jobs):
            raise click.UsageError("a photo from standard input cannot be sent to --workers; leave them out")
    model = load(options)
    from viztool.targets.checking import check_targets

    with usage():
        check_layers(model, [options["layer"]] if options["layer"] else [])
        check_targets(model, [options["target"]] if options["target"] else [])

    run = Run(model, methods, seed=seed, **options)
    trials: list[Trial] = []
    missing: dict[str, dict[str, str]] = {method: {} for method in methods}
    kept = target.with_name(f".{target.name}.unfinished")
    for job, judged in _judged(run, jobs, workers, kept, quiet=batch.quiet):
        with batch.attempt(job.photo):
            found, failed = judged()
            trials += found
            for method, error in failed.items():
                missing[method][job.photo] = error
            if verbose:
                for trial in found:
                    gain = number(trial.gain, "+.2f")
                    click.echo(f"{trial.source}: {trial.method} of {trial.target}, gain {gain}", err=True)
    _finish(batch, model, trials, missing, target, kept, seed=seed, force=force, npz=npz)


def _judged(
    run: Run, jobs: Sequence[Job], workers: str | None, kept: Path, *, quiet: bool
) -> Iterator[tuple[Job, Callable[[], Judged]]]:
    """Each photo, and what gives what was found on it, or raises why nothing was."""
    if workers is None:
        if not quiet:
            run.foretell(jobs)
        for job in progress(jobs, quiet=quiet):
            yield job, partial(run.judge, job)
        return
    from viztool.cli.judging import Judging

    # A node of a cluster is in another folder than the one that the photos are named from.
    there = [replace(job, photo=str(Path(job.photo).absolute())) for job in jobs]
    found = dict(progress(Judging(run, there, kept.absolute()).found(workers), quiet=quiet, total=len(jobs)))
    for job, sent in zip(jobs, there, strict=True):
        yield job, partial(_as_found, found[sent], sent.photo, job.photo)


def _as_found(found: Found, sent: str, typed: str) -> Judged:
    """sent, typed: what the photo is called there, and here."""
    if found.error is not None:
        raise ViztoolError(found.error.replace(sent, typed))
    return list(found.trials), {method: error.replace(sent, typed) for method, error in found.failed.items()}


def _finish(
    batch: Batch,
    model: Model,
    trials: list[Trial],
    missing: dict[str, dict[str, str]],
    target: Path,
    kept: Path,
    *,
    seed: int,
    force: bool,
    npz: bool,
) -> None:
    """Draw and tell what was found; a method that never worked is said, one that sometimes failed is a failure."""
    from viztool.faithfulness.ranking import Ranking

    ranked = {trial.method for trial in trials}
    never = {
        method: next(iter(errors.values())) for method, errors in missing.items() if errors and method not in ranked
    }
    for method, errors in missing.items():
        if method in ranked or not ranked:
            batch.failed += [{"source": photo, "error": f"{method}: {error}"} for photo, error in errors.items()]
    for method, error in never.items():
        click.echo(f"{'Error' if not ranked else 'left out'}: {method}: {error}", err=True)
    if trials:
        ranking = Ranking(trials, model.name, model.weights, model.preprocessing, seed, never)
        if not batch.as_json and not batch.quiet:
            click.echo(str(ranking), err=str(target) == STDOUT)
        written = [save(ranking, target, force)]
        if npz:
            written.append(ranking.save_npz(target.with_suffix(".npz"), force=force))
        batch.wrote(ranking, *written)
    shutil.rmtree(kept, ignore_errors=True)
    batch.finish("evaluate")


def _target(paths: tuple[str, ...], output: str | None) -> Path:
    """The one file that the picture goes to."""
    stem = Path(paths[0]).resolve().stem if len(paths) == 1 and paths[0] != STDIN and Path(paths[0]).exists() else ""
    name = f"{stem}_evaluate.png" if stem else "evaluate.png"
    if output is None:
        return Path(name)
    if output == STDOUT:
        return Path(STDOUT)
    folder = Path(output).is_dir() or not Path(output).suffix
    return Path(output) / name if folder else Path(output)


def _methods() -> list[str]:
    """Every method that there is."""
    from viztool import attribution, cam

    return [*cam.METHODS, *attribution.METHODS]


def _known(methods: tuple[str, ...]) -> list[str]:
    """The methods, each once. Raises a usage error for one that does not exist."""
    from viztool.cam import SLOW

    known = _methods()
    for method in methods:
        if method != _ALL and method not in known:
            close = get_close_matches(method, known, n=3) or known
            raise click.UsageError(f"no method is called {method!r}; there are: {', '.join(close)}")
    if _ALL not in methods:
        return list(dict.fromkeys(methods))
    return [name for name in known if name in methods or name not in SLOW]
