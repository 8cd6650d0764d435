"""Sources: the same photos from a folder, a pattern, a list, an archive, a table, here or on another file system."""

from __future__ import annotations

import io
import pickle
import tarfile

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from atlas_helpers import SMALL_LAYERS, small_model, write_photos

import viztool
from viztool.atlas.build import build_atlas
from viztool.atlas.sources import find_source
from viztool.errors import ViztoolError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = write_photos(tmp_path_factory.mktemp("photos"), 6)
    (root / "notes.txt").write_text("not a photo")
    (root / ".hidden.png").write_bytes(b"")
    return root


@pytest.fixture(scope="module")
def files(folder):
    return sorted(folder.rglob("[0-9]*.png"), key=lambda path: path.relative_to(folder).as_posix())


def as_tar(path, files, folder):
    with tarfile.open(path, "w") as archive:
        for file in files:
            name = file.relative_to(folder).as_posix().replace("/", "_")
            archive.add(file, name)
            label = file.parent.name.encode()
            info = tarfile.TarInfo(name.replace(".png", ".cls"))
            info.size = len(label)
            archive.addfile(info, io.BytesIO(label))
    return path


def as_parquet(path, files, *, nested):
    content = [file.read_bytes() for file in files]
    column = [{"bytes": one, "path": None} for one in content] if nested else content
    table = pa.table({"label": [file.parent.name for file in files], "image": column})
    pq.write_table(table, path, row_group_size=4)
    return path


def contents(source):
    return [source.read(entry) for entry in sorted(source.entries(), key=lambda entry: entry.id)]


def test_a_folder(folder, files):
    source = find_source(folder)
    entries = sorted(source.entries(), key=lambda entry: entry.id)
    assert [entry.id for entry in entries] == [file.relative_to(folder).as_posix() for file in files]
    assert [entry.label for entry in entries] == [file.parent.name for file in files]
    assert contents(source) == [file.read_bytes() for file in files]
    assert [source.stamp(entry) for entry in entries] == [entry.stamp for entry in entries]


@pytest.mark.parametrize("kind", ["pattern", "files", "list", "tar", "shards", "rows", "structs", "memory", "pickled"])
def test_the_same_photos_however_they_are_given(folder, files, tmp_path, kind):
    wanted = [file.read_bytes() for file in files]
    labels = [file.parent.name for file in files]
    if kind == "pattern":
        given, labels = str(folder / "*" / "*.png"), [None] * 6
    elif kind == "files":
        given, labels = list(files), [None] * 6
    elif kind == "list":
        given, labels = tmp_path / "photos.txt", [None] * 6
        given.write_text("# mine\n" + "\n".join(map(str, files)) + "\n")
    elif kind == "tar":
        given = as_tar(tmp_path / "all.tar", files, folder)
    elif kind == "shards":
        (tmp_path / "shards").mkdir()
        as_tar(tmp_path / "shards" / "0.tar", files[:2], folder)
        as_tar(tmp_path / "shards" / "1.tar", files[2:], folder)
        given = tmp_path / "shards"
    elif kind in ("rows", "structs"):
        given = as_parquet(tmp_path / "all.parquet", files, nested=kind == "structs")
    elif kind == "memory":
        memory = fsspec.filesystem("memory")
        for file in files:
            memory.pipe(f"/own/{file.relative_to(folder).as_posix()}", file.read_bytes())
        given = "memory://own"
    else:
        given = folder
    source = find_source(given)
    if kind == "pickled":
        source = pickle.loads(pickle.dumps(source))
    assert contents(source) == wanted
    assert [entry.label for entry in sorted(source.entries(), key=lambda entry: entry.id)] == labels


def test_the_ids_of_archives_and_tables(folder, files, tmp_path):
    shards = tmp_path / "shards"
    shards.mkdir()
    as_tar(shards / "0.tar", files[:2], folder)
    as_tar(shards / "1.tar", files[2:], folder)
    assert min(entry.id for entry in find_source(shards).entries()) == "0.tar/cat_0001.png"
    assert min(entry.id for entry in find_source(shards / "0.tar").entries()) == "cat_0001.png"
    rows = find_source(as_parquet(tmp_path / "all.parquet", files * 3, nested=False)).entries()
    assert [entry.id for entry in rows][:3] == ["00", "01", "02"]


def test_an_atlas_of_arrays_is_one_of_the_files(folder, files, tmp_path):
    """What is found does not depend on where the photos are."""
    model = small_model()
    of_files = build_atlas(model, folder, tmp_path / "a", layers=SMALL_LAYERS)
    arrays = [viztool.read_image(file) for file in files]
    of_arrays = build_atlas(model, arrays, tmp_path / "b", layers=SMALL_LAYERS)
    of_tar = build_atlas(model, as_tar(tmp_path / "all.tar", files, folder), tmp_path / "c", layers=SMALL_LAYERS)
    for name in SMALL_LAYERS:
        for units in zip(of_files[name], of_arrays[name], of_tar[name], strict=True):
            assert len({(unit.mean, unit.sd, unit.quantile(0.9)) for unit in units}) == 1
            assert len({tuple(place[1:] for place in unit.top) for unit in units}) == 1


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path / "nowhere", r"^no such file or folder: .*nowhere$"),
        (lambda path: path, r"is a folder with no picture in it$"),
        (lambda path: str(path / "*.jpg"), r"^nothing matches .*\*\.jpg$"),
        (lambda path: [], r"^no photo was given: the list is empty$"),
        (lambda path: [path / "a.png", np.zeros((2, 2, 3), np.uint8)], r"^photos are files or arrays, not both"),
        (lambda path: written(path / "x.tar", b"no archive"), r"cannot be read as an uncompressed tar archive"),
        (lambda path: written(path / "x.parquet", b"no table"), r"cannot be read as Parquet"),
        (lambda path: written(path / "x.txt", b"# nothing\n"), r"names no photo$"),
        (lambda path: table(path / "y.parquet"), r"has no column of pictures"),
        (lambda path: "nosuch://bucket/photos", r"cannot be looked through: "),
    ],
)
def test_what_cannot_be_looked_through_is_said(tmp_path, make, says):
    with pytest.raises(ViztoolError, match=says):
        find_source(make(tmp_path)).entries()


def written(path, content):
    path.write_bytes(content)
    return path


def table(path):
    pq.write_table(pa.table({"a": [1, 2]}), path)
    return path
