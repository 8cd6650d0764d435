"""What hangs in the gallery about what units do over a data set."""

from __future__ import annotations

from viztool.gallery.piece import Piece

_ROOM = "What units do over a data set"

_BUILT = (
    "`viztool atlas build gallery/tiles.tar -o gallery/tiles.atlas -l blocks.1 -l blocks.2 -l blocks.4` comes first."
)

ATLAS_PIECES = (
    Piece(
        "atlas_units",
        _ROOM,
        "What a layer's units answer to",
        "The twelve units of a middle block whose best photo stands out most, over 200 tiles of the gallery's photos: "
        "how large their maximum is, how all their values are spread, what they saw where it was largest and smallest, "
        f"which units go with them. Every number is exact, and the same from one process or a cluster. {_BUILT}",
        ("atlas", "show", "{atlas}", "-l", "blocks.2"),
    ),
    Piece(
        "atlas_unusual",
        _ROOM,
        "What is unusual in a photo",
        "Units that answer to this photo as to few of the tiles, each where it looks here and beside what it answers "
        f"to most there. {_BUILT}",
        ("atlas", "photo", "{atlas}", "{inputs}/coffee_and_cat.jpg", "--count", "6"),
    ),
)
