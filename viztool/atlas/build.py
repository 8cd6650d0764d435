"""Build an atlas: cut the photos into ranges, have them looked at, and put together what was found."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
from torch import nn

from viztool.atlas import tables
from viztool.atlas.atlas import Atlas, open_atlas
from viztool.atlas.engines import find_engine
from viztool.atlas.field import to_numbers
from viztool.atlas.fingerprint import differences, digest_of
from viztool.atlas.layers import at_once, looked_at
from viztool.atlas.lock import only_build
from viztool.atlas.made_with import fingerprint
from viztool.atlas.merge import label_shares, total
from viztool.atlas.part import Part, read_part, stamps
from viztool.atlas.ranges import Bounds, ranges
from viztool.atlas.sources import MISSING, Entry, Photos, Source, find_source
from viztool.atlas.thumbnails import first_shard, write_thumbnails
from viztool.atlas.worker import Job
from viztool.errors import SettingError, ViztoolError
from viztool.images import atomic_write
from viztool.models.model import Model, wrap_model


@dataclass(frozen=True)
class Progress:
    """How far a build is. done, photos: photos looked at, of how many. found: of them, those of an earlier run."""

    done: int
    photos: int
    found: int


def build_atlas(
    model: Model | nn.Module,
    photos: Photos,
    folder: str | os.PathLike[str],
    *,
    layers: str | Iterable[str] = "stages",
    keep: int = 16,
    workers: int | str | None = None,
    thumbnails: bool = False,
    restart: bool = False,
    half: bool = False,
    relevance: bool = False,
    callback: Callable[[Progress], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> Atlas:
    """What every unit of some layers does over a whole data set, in one forward a photo. Goes on where it was.

    photos: a folder (with those in it), a pattern, a list of files or of arrays, a .txt file with a path a line, .tar
        shards as WebDataset has them, or a .parquet file with a column of pictures; all but arrays also as URL of a
        file system that fsspec knows. A photo's id is its path below the folder, its member's name, or its row.
    folder: where the atlas is, or will be. layers: patterns as in `capture`. keep: places of each unit that are kept.
    workers: None for this process, a number of processes, "ray" or "ray://HOST:PORT". The tables are the same, byte for
        byte. thumbnails: keep the crops of all places, small, so that they can be shown where the photos are not.
        half: bfloat16 where the network allows it: faster on a GPU, and another fingerprint.
    relevance: also find where each unit matters most for the class that the network says: one way back a photo more.
    restart: throw away what another network, other layers or other photos have left in the folder.
    callback: called after each range. say: called with a line on whatever a person would want to know.

    Photos that cannot be read are listed in `Atlas.failed`. Whatever ends a build, a kill included, what is finished
    stays, and the next one goes on from there to the same bytes. Raises ViztoolError if the folder holds another atlas,
    with what differs, or one of photos from somewhere else that are not the same; if another process builds there; if
    the photos or the folder cannot be used.
    """
    known = model if isinstance(model, Model) else wrap_model(model)
    if keep < 1:
        raise SettingError(f"keep is {keep}; give at least 1")
    engine = find_engine(workers)
    tell = say or (lambda line: None)
    place = Path(folder).absolute()
    layer_list = looked_at(known, layers)
    channels = {layer.name: layer.channels for layer in layer_list}
    batch = at_once(known, channels)
    told = fingerprint(known, channels, keep, half=half, relevance=relevance, batch=batch)
    source = find_source(photos)
    _prepare(place)
    with only_build(place):
        entries = _manifest(place, source, told, restart=restart, say=tell)
        job = Job(known, source, entries, channels, keep, place, digest_of(told), half, relevance, batch)
        about: dict[str, Any] = {
            "fingerprint": told,
            "source": {"name": source.name, "at": source.at},
            "fields": {layer.name: to_numbers(layer.axes) for layer in layer_list},
        }
        bounds = ranges(len(entries))
        missing = _missing(job, bounds, tell)
        if not missing and _is_finished(place, job.fingerprint, thumbnails):
            return open_atlas(place)
        _unfinish(place)
        tables.write_json(place / tables.ABOUT, about)
        _look(engine, job, bounds, missing, callback)
        _put_together(job, bounds, about, {layer.name: layer.axes for layer in layer_list}, thumbnails)
    return open_atlas(place)


def _prepare(place: Path) -> None:
    """Raises ViztoolError if the folder cannot keep parts safely."""
    try:
        (place / "parts").mkdir(parents=True, exist_ok=True)
        probe = place / ".probe"
        for _ in range(2):  # the second time over the first
            with atomic_write(probe) as file:
                file.write(b"viztool")
                file.flush()
                os.fsync(file.fileno())
        probe.unlink()
        for left in (*place.glob(".viztool-*.tmp"), *(place / "parts").glob(".viztool-*.tmp")):
            left.unlink(missing_ok=True)  # of a build that was killed while it wrote
    except (OSError, ViztoolError) as error:
        raise ViztoolError(f"an atlas cannot be kept in {place}: {error}") from error


def _manifest(
    place: Path, source: Source, told: dict[str, Any], *, restart: bool, say: Callable[[str], None]
) -> list[Entry]:
    """The photos in the order in which they are numbered: by id. The first build settles which they are."""
    found = sorted(source.entries(), key=lambda entry: entry.id)
    if not found:
        raise ViztoolError(f"{source.name} holds no photo")
    if restart:
        _throw_away(place)
    before = tables.read_about(place)
    if before is not None or (place / tables.MANIFEST).exists():
        changed = [] if before is None else differences(before["fingerprint"], told)
        if before is not None and changed:
            raise ViztoolError(
                f"{place} holds another atlas ({'; '.join(changed)}); build elsewhere, or throw it away with restart"
            )
        table = _settled(place, say)
        if table is not None:
            if before is not None and not {entry.id for entry in found} & set(table["id"].to_pylist()):
                raise _of_other_photos(place, before, source)
            return _as_before(table, found, say)
    for one, after in pairwise(found):
        if one.id == after.id:
            raise ViztoolError(f"two photos of {source.name} are called {one.id}")
    tables.write_table(
        place,
        tables.MANIFEST,
        pa.table(
            {
                "id": pa.array([entry.id for entry in found]),
                "label": pa.array([entry.label for entry in found], pa.string()),
            }
        ),
    )
    return found


def _settled(place: Path, say: Callable[[str], None]) -> pa.Table | None:
    """The manifest. Where it is damaged, what the finished atlas has of it; else None, and no part is left.

    A part says of its photos only their numbers: without the manifest nobody knows which they are.
    """
    with suppress(ViztoolError):
        return tables.read_table(place, tables.MANIFEST)
    told = tables.read_json(place / tables.ATLAS)
    if told is not None and tables.is_as_written(place / tables.PHOTOS, told["tables"][tables.PHOTOS]):
        say(f"{tables.MANIFEST} is damaged, and is made again from {tables.PHOTOS}")
        table = tables.read_table(place, tables.PHOTOS, columns=["id", "label"])
        tables.write_table(place, tables.MANIFEST, table)
        return table
    say(f"{tables.MANIFEST} is damaged, and all photos are looked at again")
    _throw_away(place)
    return None


def _as_before(table: pa.Table, found: Sequence[Entry], say: Callable[[str], None]) -> list[Entry]:
    """The entries of the manifest, where the source has them now."""
    now = {entry.id: entry for entry in found}
    entries = []
    gone = 0
    for name, label in zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True):
        entry = now.pop(name, None)
        gone += entry is None
        entries.append(Entry(name, MISSING, label=label) if entry is None else replace(entry, label=label))
    if gone:
        say(f"{gone} photos of the manifest are gone")
    if now:
        say(f"{len(now)} photos are new since this atlas was begun and are left out; --restart takes them in")
    return entries


def _is_another(before: Mapping[str, Any], source: Source) -> bool:
    """Whether the photos come from somewhere else than before. Lists and patterns may gain and lose some."""
    then, now = before["source"]["at"], source.at
    if isinstance(then, list) and isinstance(now, list):
        return not set(then) & set(now)
    return bool(then != now)


def _of_other_photos(place: Path, before: Mapping[str, Any], source: Source) -> ViztoolError:
    told = before["source"]["name"], before["source"]["at"]
    then, now = (at if isinstance(at, str) else name for name, at in (told, (source.name, source.at)))
    return ViztoolError(
        f"{place} holds an atlas of {then}, and {now} has other photos; build elsewhere, or throw it away with restart"
    )


def _missing(job: Job, bounds: Sequence[Bounds], say: Callable[[str], None]) -> list[Bounds]:
    """The ranges without a part that is whole and of the photos as they are.

    Raises ViztoolError if the photos are from somewhere else than before, and are not the same.
    """
    before = tables.read_about(job.folder)
    moved = before is not None and _is_another(before, job.source)
    if before is not None and moved and any(entry.stamp == MISSING for entry in job.entries):
        raise _of_other_photos(job.folder, before, job.source)
    wanted = []
    for one in bounds:
        file = job.part_file(one)
        if not file.exists():
            wanted.append(one)
            continue
        found = stamps(file, job.fingerprint, one)
        if found is None:
            say(f"the part of photos {one[0]} to {one[1] - 1} is damaged, and is done again")
            wanted.append(one)
            continue
        changed = [job.entries[number].id for number in range(*one) if job.entries[number].stamp != found.get(number)]
        if changed and before is not None and moved:
            raise _of_other_photos(job.folder, before, job.source)
        if changed:
            others = f" and {len(changed) - 1} others" if len(changed) > 1 else ""
            say(f"{changed[0]}{others} changed since the last run")
            wanted.append(one)
    return wanted


def _look(
    engine: Any,
    job: Job,
    bounds: Sequence[Bounds],
    missing: Sequence[Bounds],
    callback: Callable[[Progress], None] | None,
) -> None:
    count = len(job.entries)
    found = count - sum(stop - start for start, stop in missing)
    done = found
    if callback is not None:
        callback(Progress(done, count, found))
    for start, stop in engine.run(job, missing):
        done += stop - start
        if callback is not None:
            callback(Progress(done, count, found))


def _put_together(
    job: Job, bounds: Sequence[Bounds], about: dict[str, Any], fields: dict[str, Any], thumbnails: bool
) -> None:
    seen = {}

    def parts() -> Iterator[Part]:
        for one in bounds:
            part = read_part(job.part_file(one))
            if part is None:
                raise ViztoolError(f"{job.part_file(one)} was damaged meanwhile; run the same again")
            for photo in part.seen:
                seen[photo.photo] = photo
            yield part

    totals = total(parts(), dict(job.layers), job.keep)
    labels = [entry.label for entry in job.entries]
    made = {
        tables.PHOTOS: tables.photo_table([entry.id for entry in job.entries], labels, seen),
        tables.UNITS: tables.unit_table(totals),
        tables.PLACES: tables.place_table(totals, fields, seen),
        tables.HISTOGRAMS: tables.histogram_table(totals),
        tables.ALIKES: tables.alike_table(totals),
    }
    if any(label is not None for label in labels):
        made[tables.SHARES] = tables.share_table(label_shares(parts(), labels, totals))
    digests = {name: tables.write_table(job.folder, name, table) for name, table in made.items()}
    if thumbnails:
        digests |= write_thumbnails(job.folder, made[tables.PLACES], job.source, job.entries)
    tables.write_json(
        job.folder / tables.ATLAS, {**about, "photos": len(job.entries), "of": job.fingerprint, "tables": digests}
    )


def _is_finished(place: Path, fingerprint: str, thumbnails: bool) -> bool:
    told = tables.read_json(place / tables.ATLAS)
    if told is None or tables.read_json(place / tables.ABOUT) is None or told["of"] != fingerprint:
        return False
    if thumbnails and not (place / first_shard()).exists():
        return False
    return all(tables.is_as_written(place / name, digest) for name, digest in told["tables"].items())


def _unfinish(place: Path) -> None:
    """What will be made anew goes, so that nobody takes it for this one's."""
    (place / tables.ATLAS).unlink(missing_ok=True)


def _throw_away(place: Path) -> None:
    shutil.rmtree(place / "parts", ignore_errors=True)
    (place / "parts").mkdir(exist_ok=True)
    for name in (tables.ATLAS, tables.ABOUT, tables.MANIFEST):  # the manifest last: the others need it
        (place / name).unlink(missing_ok=True)
