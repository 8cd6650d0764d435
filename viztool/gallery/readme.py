"""The gallery's README: each piece with its caption, its command and its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from viztool.gallery.piece import INPUTS, Piece


def readme(folder: Path, pieces: Sequence[Piece]) -> str:
    """Markdown that shows every piece. folder: where they are made."""
    parts = [
        "# Gallery",
        "",
        "Made by `viztool gallery`. Beside each picture lies a `.json` with every number in it, the versions and the "
        f"command. The photos are free to ship: [{INPUTS}/SOURCES.md]({INPUTS}/SOURCES.md). "
        "[index.html](index.html) shows the same in a browser, to filter and to zoom.",
    ]
    for room, within in groupby(pieces, key=lambda piece: piece.room):
        parts += ["", f"## {room}"]
        for piece in within:
            numbers, picture = piece.read(folder), piece.picture(folder).name
            parts += [
                "",
                f"### {piece.title}",
                "",
                piece.caption,
                *(
                    f"\n> {claim['sentence']}\n>\n> {claim['zh']}\n>\n> **{claim['verdict']}**. {claim['condition']}"
                    for claim in numbers.get("claims", ())
                ),
                "",
                f"```\n{numbers['command']}\n```",
                "",
                f"[![{piece.title}]({picture})]({picture})",
                "",
                *(
                    []
                    if numbers.get("claims") or not numbers["summary"]
                    else [f"```text\n{numbers['summary']}\n```", ""]
                ),
                f"All numbers: [{piece.name}.json]({piece.name}.json).",
            ]
    return "\n".join(parts) + "\n"
