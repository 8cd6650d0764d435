"""Photos in a column of a Parquet file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from viztool.atlas.sources.base import Entry
from viztool.atlas.sources.files import stamp_of
from viztool.errors import ViztoolError

_LABELS = ("label", "labels", "class", "cls")


@dataclass(frozen=True)
class Rows:
    """The rows of one Parquet file, by number; photos in its first column of bytes, or of structs with "bytes"."""

    name: str
    url: str
    path: str

    @property
    def at(self) -> str:
        """As `Source.at`."""
        return self.url

    @cached_property
    def system(self) -> Any:
        return fsspec.core.url_to_fs(self.url)[0]

    def entries(self) -> list[Entry]:
        try:
            stamp = stamp_of(self.system.info(self.path))
            table = self._file
        except (OSError, pa.ArrowException) as error:
            raise ViztoolError(f"{self.name} cannot be read as Parquet ({error})") from error
        _ = self._column  # raises now if there is none
        label = next((name for name in _LABELS if name in table.schema_arrow.names), None)
        count = table.metadata.num_rows
        labels = [None] * count if label is None else table.read([label])[label].to_pylist()
        width = len(str(max(0, count - 1)))
        entries = []
        row = 0
        for group in range(table.metadata.num_row_groups):
            for at in range(table.metadata.row_group(group).num_rows):
                said = labels[row]
                entries.append(Entry(f"{row:0{width}}", stamp, ("", group, at), None if said is None else str(said)))
                row += 1
        return entries

    def read(self, entry: Entry) -> bytes:
        _, group, at = entry.place
        if self._group[0] != group:
            self._group[:] = [group, self._file.read_row_group(group, [self._column])[self._column]]
        value = self._group[1][at].as_py()
        content = value.get("bytes") if isinstance(value, dict) else value
        if content is None:
            raise OSError("the row holds no bytes")
        return bytes(content)

    def stamp(self, entry: Entry) -> str | None:
        try:
            return stamp_of(self.system.info(self.path))
        except OSError:
            return None

    @cached_property
    def _group(self) -> list[Any]:
        """The row group that was read last: neighbours are asked for one after another."""
        return [-1, None]

    @cached_property
    def _file(self) -> pq.ParquetFile:
        return pq.ParquetFile(self.system.open(self.path, "rb"))

    @cached_property
    def _column(self) -> str:
        for field in self._file.schema_arrow:
            kind = field.type
            if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
                return str(field.name)
            if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
                return str(field.name)
        raise ViztoolError(f"{self.name} has no column of pictures: one of bytes, or of structs with a field 'bytes'")

    def __getstate__(self) -> dict[str, str]:
        """Open files stay here."""
        return {"name": self.name, "url": self.url, "path": self.path}

    def __setstate__(self, state: dict[str, str]) -> None:
        self.__dict__.update(state)
