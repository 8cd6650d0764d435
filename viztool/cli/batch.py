"""Many photos in, one file for each out: plan, carry on past failures, sum up."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

import click

from viztool.cli.errors import debugging, one_line, usage
from viztool.cli.options import load
from viztool.cli.progress import progress
from viztool.errors import ImageError, SettingError

if TYPE_CHECKING:
    from viztool.models.model import Model
    from viztool.results import Result

F = TypeVar("F", bound=Callable[..., Any])
Written = tuple["Result", list[Path]]

STDIN = STDOUT = "-"


def output_options(command: F) -> F:
    """Where the files go and what is said of them."""
    options = [
        click.option(
            "-o",
            "--output",
            metavar="PATH",
            help="The file to write, a folder, or - for standard output. [default: this folder]",
        ),
        click.option("--force", is_flag=True, help="Replace files that are not viztool's."),
        click.option("--json", "as_json", is_flag=True, help="Print a manifest with every number, and nothing else."),
        click.option("--open", "open_it", is_flag=True, help="Show the pictures when they are done."),
        click.option("--npz", is_flag=True, help="Also write the raw maps, in full, beside the picture."),
        click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors."),
        click.option("-v", "--verbose", is_flag=True, help="Say more on stderr."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def photo_options(command: F) -> F:
    """Which photos."""
    recursive = click.option("-r", "--recursive", is_flag=True, help="Also the pictures in folders inside a folder.")
    return click.argument("paths", nargs=-1, required=True, metavar="PATH...")(recursive(command))


def photos_of(paths: Sequence[str], recursive: bool) -> list[str]:
    """The photos that `paths` name; what is left out of a folder is said."""
    from viztool.images import find_images

    return [str(path) for path in find_images(paths, recursive=recursive, note=_say)]


def _say(note: str) -> None:
    click.echo(note, err=True)


@dataclass(frozen=True)
class Job:
    """One photo and the file that its picture goes to. ahead: gives the photo, where it is being read already."""

    photo: str
    target: Path
    ahead: Callable[[], Any] | None = field(default=None, compare=False, repr=False)

    @property
    def source(self) -> str:
        """What the photo is called on its picture."""
        return "stdin" if self.photo == STDIN else Path(self.photo).name

    @property
    def arrays(self) -> Path:
        """The file for the raw values, beside the picture."""
        return self.target.with_suffix(".npz")

    def read(self) -> Any:
        """The photo, uint8 RGB (H, W, 3)."""
        from viztool.images import read_image

        if self.ahead is not None:
            return self.ahead()
        return read_image(sys.stdin.buffer if self.photo == STDIN else self.photo)


def plan(photos: Sequence[str], output: str | None, kind: str) -> list[Job]:
    """The jobs for these photos: cat.jpg gives cat_KIND.png, here or in the folder `output`."""
    if output is not None and len(photos) == 1 and not _is_folder(output):
        return [Job(photos[0], Path(output))]
    if output is not None and not _is_folder(output):
        where = "to standard output" if output == STDOUT else f"into the one file {output}"
        raise click.UsageError(f"{len(photos)} photos cannot go {where}; give a folder with -o")
    folder = Path(output or ".")
    jobs: list[Job] = []
    taken: set[Path] = set()
    for photo in photos:
        stem = "stdin" if photo == STDIN else Path(photo).stem
        # a/cat.jpg and b/cat.jpg must not write over each other.
        names = (f"{stem}{count}_{kind}.png" for count in ["", *(f"-{n}" for n in range(2, len(photos) + 2))])
        target = next(folder / name for name in names if folder / name not in taken)
        taken.add(target)
        jobs.append(Job(photo, target))
    return jobs


def _is_folder(output: str) -> bool:
    if output == STDOUT:
        return False
    return output.endswith(("/", "\\")) or Path(output).is_dir() or not Path(output).suffix


def check_output(output: str | None, batch: Batch, *, npz: bool = False, films: bool = False) -> None:
    """Raise for a file of a kind that is not written, and for two things that cannot both go to standard output.

    films: whether it may be a .gif or an .mp4.
    """
    from viztool.results import check_target

    if output is None:
        return
    if output != STDOUT:
        if not _is_folder(output) and not (films and Path(output).suffix.lower() in (".gif", ".mp4")):
            with usage():
                check_target(Path(output))
        return
    if batch.as_json or npz:
        also = "--json" if batch.as_json else "--npz"
        raise click.UsageError(f"-o - writes the picture to standard output; leave {also} out")
    if sys.stdout.isatty():
        raise click.UsageError("-o - writes the picture to standard output, and that is a terminal; send it elsewhere")


def refuse_existing(path: Path, force: bool) -> None:
    """Raise ImageError if the file is not viztool's and may not be replaced: better now than when the work is done."""
    from viztool.images import refuse_others

    if not force and str(path) != STDOUT:
        refuse_others(path)


def each_photo(
    command: str,
    paths: Sequence[str],
    options: dict[str, Any],
    begin: Callable[[Model], Callable[[Job], Result]],
    *,
    kind: str | None = None,
    check: Callable[[Model, Sequence[Job]], None] | None = None,
) -> None:
    """Draw each photo into its file, and report; the whole of a command that makes pictures.

    begin: called once, with the network; what it gives then looks at each photo. While it looks at the next ones,
    pictures are drawn and written by threads, which therefore must not ask anything of the network.
    options: the values of `photo_options` but the paths, `output_options` and `model_options`; they are taken out.
    kind: what the files are called by, if not by the command. check: raises ViztoolError for what is wrong with the
    options whatever the photo; called before the first.
    """
    force, npz, verbose = options.pop("force"), options.pop("npz"), options.pop("verbose")
    output = options.pop("output")
    batch = Batch(options.pop("as_json"), options.pop("quiet"), options.pop("open_it"))
    check_output(output, batch, npz=npz)
    jobs = plan(photos_of(paths, options.pop("recursive")), output, kind or command)
    model = load(options)
    if check is not None:
        with usage():
            check(model, jobs)
    todo: list[Job] = []
    for job in jobs:
        with batch.attempt(job.photo):
            if job.target.exists() and job.photo != STDIN and job.target.samefile(job.photo):
                raise ImageError(f"{job.target} is the photo itself; write elsewhere with -o")
            for path in (job.target, job.arrays) if npz else (job.target,):
                refuse_existing(path, force)
            todo.append(job)
    if todo:
        look = begin(model)

        def write(job: Job, result: Result) -> tuple[Result, list[Path]]:
            written = [save(result, job.target, force)]
            if npz:
                written.append(result.save_npz(job.arrays, force=force))
            return result, written

        for job, outcome in _side_by_side(_read_ahead(progress(todo, quiet=batch.quiet)), look, write):
            with batch.attempt(job.photo):
                result, written = outcome()
                batch.wrote(result, *written)
                if verbose:
                    click.echo(f"{job.source}: {result.in_words}", err=True)
    batch.finish(command)


def _read_ahead(jobs: Iterable[Job]) -> Iterator[Job]:
    """The jobs, each handed on when the photo of the next one is being read: a large one takes longer than a look."""
    with ThreadPoolExecutor(1) as reader:
        ready: Job | None = None
        for job in jobs:
            begun = job if job.photo == STDIN else replace(job, ahead=reader.submit(job.read).result)
            if ready is not None:
                yield ready
            ready = begun
        if ready is not None:
            yield ready


_WRITERS = 2
"""Threads that draw and write; to look at a photo takes longer than that, so more would only wait."""


def _side_by_side(
    jobs: Iterable[Job], look: Callable[[Job], Result], write: Callable[[Job, Result], Written]
) -> Iterator[tuple[Job, Callable[[], Written]]]:
    """Each job in its turn, and what gives its outcome or raises its error; `write` runs in threads.

    No more are begun than the threads have hands for: results wait in memory with all their maps.
    """
    waiting: deque[tuple[Job, Callable[[], Written]]] = deque()
    pool = ThreadPoolExecutor(_WRITERS)
    try:
        for job in jobs:
            try:
                # In a copy of the context, as what is written says by which command it was made.
                future = pool.submit(copy_context().run, write, job, look(job))
            except Exception as error:
                future = Future()
                future.set_exception(error)
            waiting.append((job, future.result))
            if len(waiting) > _WRITERS:
                yield waiting.popleft()
        yield from waiting
    finally:
        pool.shutdown(cancel_futures=True)


def save(result: Result, target: Path, force: bool, suffix: str = ".png") -> Path:
    """Write the picture; returns where. suffix: of the kind of file that goes to standard output."""
    if str(target) != STDOUT:
        return result.save(target, force=force)
    with TemporaryDirectory() as folder:
        written = result.save(Path(folder) / f"picture{suffix}")
        sys.stdout.buffer.write(written.read_bytes())
    return target


@dataclass
class Batch:
    """A failure is noted and the rest is done; `finish` then says what was not, and ends the command."""

    as_json: bool
    quiet: bool
    open_it: bool
    done: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)

    @contextmanager
    def attempt(self, photo: str) -> Iterator[None]:
        """A failure inside the block is this photo's alone, but for wrong usage, which ends the command."""
        try:
            yield
        except click.ClickException:
            raise
        except Exception as error:
            if debugging() or isinstance(error, SettingError):  # it would fail with the next one, too
                raise
            text = one_line(error)
            self.failed.append({"source": photo, "error": text})
            click.echo(f"Error: {text}" if Path(photo).name in text else f"Error: {photo}: {text}", err=True)

    def left_out(self, photo: str, reason: str) -> None:
        """One photo of many could not be read; the result is without it."""
        self.failed.append({"source": photo, "error": reason})
        click.echo(f"left out: {reason if Path(photo).name in reason else f'{photo}: {reason}'}", err=True)

    def wrote(self, result: Result, *paths: Path) -> None:
        """A photo is done: what was found goes to these files, and its numbers to the manifest."""
        files = [str(path) for path in paths]
        self.done.append({"summary": result.in_words, **result.numbers, "files": files})
        if not self.as_json and not self.quiet:
            for file in files:
                if file != STDOUT:
                    click.echo(file)

    def finish(self, command: str) -> None:
        """Print the manifest or the summary, show the pictures, and exit with 1 if anything failed."""
        if self.as_json:
            manifest = {"command": command, "results": self.done, "errors": self.failed}
            click.echo(json.dumps(manifest, indent=2, allow_nan=False))
        if self.failed and len(self.done) + len(self.failed) > 1:
            names = ", ".join(failure["source"] for failure in self.failed[:5])
            more = " and others" if len(self.failed) > 5 else ""
            click.echo(f"{len(self.done)} done, {len(self.failed)} not: {names}{more}", err=True)
        if self.open_it:
            for entry in self.done:
                if entry["files"][0] != STDOUT:
                    click.launch(entry["files"][0])
        if self.failed:
            sys.exit(1)
