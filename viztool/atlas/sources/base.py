"""Where photos come from: anything that lists them by id and gives the bytes of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

MISSING = "missing"
"""The stamp of a photo that is not there."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A photo of a source.

    id: its name there: the path below the folder, the member of the archive, the row of the table. stamp: changes when
    the photo does, as far as the source tells without reading it. place: what the source finds it by. label: its class,
    where the source has one.
    """

    id: str
    stamp: str
    place: tuple[str, int, int] = ("", 0, 0)
    label: str | None = None


Content = bytes | npt.NDArray[np.uint8]
"""A picture file's bytes; or, of photos that were given as arrays, the photo itself, uint8 RGB (H, W, 3)."""


class Source(Protocol):
    """Photos somewhere. It can be sent to another process, which reads from the same place."""

    @property
    def name(self) -> str:
        """What a person calls it: the folder, the file."""

    @property
    def at(self) -> str | list[str] | None:
        """What `find_source` finds it by from anywhere; None of photos in memory."""

    def entries(self) -> list[Entry]:
        """All its photos, in any order. Raises ViztoolError if it cannot be listed."""

    def read(self, entry: Entry) -> Content:
        """Raises OSError if it cannot be read."""

    def stamp(self, entry: Entry) -> str | None:
        """The photo's stamp as it is now; None if it is not there any more."""
