"""The gallery: which pictures it holds, and the pages that show each with the command that made it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from viztool.errors import ImageError
from viztool.images import atomic_write

Run = Callable[[Sequence[str]], dict[str, Any]]
"""Runs `viztool ARGUMENTS` and gives the entry of its manifest."""

INPUTS = "inputs"


@dataclass(frozen=True)
class Piece:
    """One picture. arguments: of `viztool`, without the output; {inputs} stands for the folder of photos."""

    name: str
    title: str
    caption: str
    arguments: tuple[str, ...]

    def command(self, folder: Path) -> list[str]:
        """The arguments of `viztool` that make this piece in `folder`."""
        inputs = (folder / INPUTS).as_posix()
        filled = [argument.format(inputs=inputs) for argument in self.arguments]
        return [*filled, "-o", (folder / f"{self.name}.png").as_posix()]


PIECES = (
    Piece(
        "features_cat",
        "What each stage sees",
        "From edges to parts: the last layer at each resolution of the embedded network, and of each the 16 channels "
        "that tell the most about where. The faded border of the photo is what the network is not shown.",
        ("features", "{inputs}/cat.jpg"),
    ),
    Piece(
        "features_coffee_overlay",
        "The maps over the photo",
        "The same for another photo, each map laid over what the network was given.",
        ("features", "{inputs}/coffee.jpg", "--overlay", "--top", "8"),
    ),
    Piece(
        "features_astronaut_shared",
        "One colour scale for a layer",
        "With a scale of its own each channel looks equally strong. With one for the whole layer one sees which are.",
        ("features", "{inputs}/astronaut.jpg", "--normalize", "layer"),
    ),
    Piece(
        "features_rocket_all",
        "Every channel of one layer",
        "All 112 channels of the last block at 14 × 14, in the order of their score.",
        ("features", "{inputs}/rocket.jpg", "-l", "blocks.4", "--all"),
    ),
    Piece(
        "features_camera_first_block",
        "Inside the first block",
        "A grey photo in the first layers: the stem's filters before and after their norm and ReLU6, then the "
        "depthwise filters and the linear projection of the first block.",
        ("features", "{inputs}/camera.jpg", "-l", "conv_stem", "-l", "bn1", "-l", "blocks.0.0.bn?", "--top", "8"),
    ),
)


def build_gallery(folder: Path, run: Run) -> Iterator[Piece]:
    """Make every piece in `folder` anew, with its numbers beside it and a README that shows all.

    Gives each piece when it is done. folder: holds the photos in `inputs/`. Raises ImageError if it does not.
    """
    if not (folder / INPUTS).is_dir():
        raise ImageError(f"{folder / INPUTS} is missing; run this in a clone of the project, where the photos are")
    for piece in PIECES:
        command = piece.command(folder)
        numbers = {"title": piece.title, "command": shlex.join(["viztool", *command]), **run(command)}
        _write(folder / f"{piece.name}.json", json.dumps(numbers, indent=2, allow_nan=False) + "\n")
        yield piece
    _write(folder / "README.md", page(folder))


def page(folder: Path) -> str:
    """The gallery's README: each piece with its caption, its command and its numbers."""
    parts = [
        "# Gallery",
        "",
        "Made by `viztool gallery`. Beside each picture lies a `.json` with every number in it, the versions and the "
        f"command. The photos are free to ship: [{INPUTS}/SOURCES.md]({INPUTS}/SOURCES.md).",
    ]
    for piece in PIECES:
        numbers = json.loads((folder / f"{piece.name}.json").read_text())
        parts += [
            "",
            f"## {piece.title}",
            "",
            piece.caption,
            "",
            f"```\n{numbers['command']}\n```",
            "",
            f"[![{piece.title}]({piece.name}.png)]({piece.name}.png)",
            "",
            f"{_summary(numbers)} All numbers: [{piece.name}.json]({piece.name}.json).",
        ]
    return "\n".join(parts) + "\n"


def _summary(numbers: dict[str, Any]) -> str:
    """What to know before one believes the picture: how sure the network is, and how much of it is silent."""
    best = numbers["predictions"][0]
    silent = [
        f"{layer['dead']} of {layer['shape'][0]} in `{layer['name']}`" for layer in numbers["layers"] if layer["dead"]
    ]
    dead = f"dead channels on this photo: {', '.join(silent)}" if silent else "no dead channels on this photo"
    return f"The network says {best['class']} ({best['probability']:.1%}); {dead}."


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as file:
        file.write(text.encode())
