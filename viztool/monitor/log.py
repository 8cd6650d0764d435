"""The log: one JSON line for each sample, written whole and at once, so that it can be read after a crash.

The first line, and each later one in which a layer ran for the first time, also has the list of all layers; a line of
numbers is a list for each quantity, in the order of that list.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from viztool.errors import ViztoolError

FORMAT = 1
_KEY = "viztool monitor"


class LogError(ViztoolError):
    """A log cannot be read or written."""


class LogWriter:
    """Appends lines. A log of an earlier training is replaced with the first line, anything else is refused at once.

    begins_at: how many bytes of the file stay, for a training that goes on.
    """

    def __init__(self, path: Path, begins_at: int | None = None) -> None:
        self.path = path
        self._begins_at = begins_at
        self._file: IO[bytes] | None = None
        self._layers: list[tuple[str, str]] = []
        with _said(path, "written"):
            if path.is_dir():
                raise LogError(f"{path} is a folder; the log is a file")
            if path.exists() and path.stat().st_size and not _is_log(path):
                raise LogError(f"{path} is there, and no log of viztool.monitor; give another name")

    def try_it(self) -> None:
        """Raise LogError if no line can be written; nothing is left of the trial."""
        with _said(self.path, "written"):
            if self.path.exists():
                if self.path.is_file():
                    self.path.open("r+b").close()
                return
            made = [each for each in self.path.parents if not each.exists()]
            try:
                for folder in reversed(made):
                    folder.mkdir(exist_ok=True)
                self.path.open("xb").close()
                self.path.unlink()
            finally:
                for folder in made:
                    with suppress(OSError):
                        folder.rmdir()

    @property
    def place(self) -> int:
        """Bytes that are written."""
        return self._begins_at or 0 if self._file is None else self._file.tell()

    def go_on_at(self, place: int) -> None:
        """Keep so many bytes of what is there: the samples after them are taken again."""
        self.close()
        self._begins_at = place

    def write(self, row: Mapping[str, Any], about: Mapping[str, Any], layers: Sequence[tuple[str, str]]) -> None:
        """One line, flushed."""
        line: dict[str, Any] = {}
        if self._file is None:
            self._file = self._opened()
            line = {_KEY: FORMAT, "about": dict(about)}
        if self._layers != list(layers):
            self._layers = list(layers)
            line["layers"] = self._layers
        text = json.dumps({**line, **row}, allow_nan=False, separators=(",", ":"))
        self._file.write(text.encode() + b"\n")
        self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._begins_at = self._file.tell()
            self._file.close()
        self._file = None
        self._layers = []

    def _opened(self) -> IO[bytes]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        kept = self._begins_at or 0
        if not kept or not self.path.exists() or self.path.stat().st_size < kept:
            return self.path.open("wb")
        file = self.path.open("r+b")
        file.truncate(kept)
        file.seek(kept)
        return file


def lines_of(path: Path, begin: int = 0) -> Iterator[bytes]:
    """Every whole line; the last may be half of one, where a training died or is being written.

    Raises LogError if the file cannot be read.
    """
    with _said(path, "read"), path.open("rb") as file:
        file.seek(begin)
        for line in file:
            if not line.endswith(b"\n"):
                return
            yield line


def in_short(line: bytes) -> dict[str, Any] | None:
    """Step and findings of a line, a hundred times as fast as all of it; None if more is in it that must be known."""
    begin, end = len(_STEP), line.find(b",")
    at = line.rfind(_FINDINGS)
    if not line.startswith(_STEP) or at < 0:
        return None
    return {"step": int(line[begin:end]), "findings": json.loads(line[at + len(_FINDINGS) : line.rindex(b"}")])}


_STEP, _FINDINGS = b'{"step":', b',"findings":'


def parsed(line: bytes, path: Path, number: int) -> dict[str, Any]:
    """All of a line, the number-th. Raises LogError if it is none of a log."""
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict) or (number == 1 and found.get(_KEY, FORMAT) != FORMAT):
        raise LogError(f"{path} is no log of viztool.monitor (line {number})")
    return found


@contextmanager
def _said(path: Path, what: str) -> Iterator[None]:
    """What the system says of a file that cannot be read or written, as a LogError."""
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise LogError(f"{path} cannot be {what} ({getattr(error, 'strerror', None) or error})") from None


def _is_log(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_KEY) + 2).startswith(f'{{"{_KEY}'.encode())
