"""One picture of the gallery, and whether what lies there is the one that its command makes today."""

from __future__ import annotations

import hashlib
import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from viztool.gallery.depends import TILES, photos, program

INPUTS = "inputs"
ATLAS = "tiles.atlas"


@dataclass(frozen=True)
class Piece:
    """One picture. arguments: of `viztool`, without the output.

    In them {inputs} stands for the folder of photos, {tiles} for the archive of the tiles that are cut from them,
    {atlas} for the atlas of these.

    room: what it is filed under. suffix: of the picture's file. slow: whether it takes more than half a minute.
    """

    name: str
    room: str
    title: str
    caption: str
    arguments: tuple[str, ...]
    suffix: str = ".png"
    slow: bool = False

    def command(self, folder: Path) -> list[str]:
        """The arguments of `viztool` that make this piece in `folder`."""
        named = {"inputs": INPUTS, "tiles": TILES, "atlas": ATLAS}
        places = {name: (folder / place).as_posix() for name, place in named.items()}
        filled = [argument.format(**places) for argument in self.arguments]
        return [*filled, "-o", self.picture(folder).as_posix()]

    def shown_command(self, folder: Path) -> str:
        """The command as one types it."""
        return shlex.join(["viztool", *self.command(folder)])

    def picture(self, folder: Path) -> Path:
        return folder / f"{self.name}{self.suffix}"

    def numbers(self, folder: Path) -> Path:
        return folder / f"{self.name}.json"

    def read(self, folder: Path) -> dict[str, Any]:
        """Every number of the picture, its command and its title."""
        numbers: dict[str, Any] = json.loads(self.numbers(folder).read_text())
        return numbers

    def made_of(self, folder: Path) -> str:
        """A digest of all that the picture is made of: the command, the photos, the program."""
        digest = hashlib.sha256("\0".join(self.arguments).encode())
        digest.update(photos(self.arguments, folder / INPUTS))
        digest.update(program(self.arguments))
        return digest.hexdigest()[:16]

    def is_current(self, folder: Path) -> bool:
        """Whether the picture and its numbers are there, and made of what there is today."""
        try:
            return self.picture(folder).exists() and self.read(folder).get("made_of") == self.made_of(folder)
        except (OSError, ValueError):
            return False
