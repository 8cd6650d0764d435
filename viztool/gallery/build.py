"""Make the gallery: its pictures side by side over the cores, then the pages that show them."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from viztool.errors import ImageError
from viztool.gallery.depends import TILES
from viztool.gallery.html import page
from viztool.gallery.piece import ATLAS, INPUTS, Piece
from viztool.gallery.pieces import PIECES
from viztool.gallery.readme import readme
from viztool.images import atomic_write

Run = Callable[[Sequence[str]], dict[str, Any]]
"""Runs `viztool ARGUMENTS` and gives the entry of its manifest; it can be sent to another process."""


def stale(folder: Path, pieces: Sequence[Piece] = PIECES) -> list[Piece]:
    """The pieces that are not there as they would be made today.

    folder: holds the photos in `inputs/`. Raises ImageError if it does not.
    """
    if not (folder / INPUTS).is_dir():
        raise ImageError(f"{folder / INPUTS} is missing; run this in a clone of the project, where the photos are")
    return [piece for piece in pieces if not piece.is_current(folder)]


def build_gallery(folder: Path, pieces: Sequence[Piece], run: Run) -> Iterator[Piece]:
    """Make these pieces anew, each with its numbers beside it, and the pages that show all. Gives each when it is done.

    The first error ends it: what is done by then stays.
    """
    if any(piece.arguments[0] == "atlas" for piece in pieces):
        _build_atlas(folder)
    cores = os.cpu_count() or 1
    workers = max(1, min(cores, len(pieces)))
    # Spawned, since a process with running threads must not be forked.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _share, (max(1, cores // workers),)) as pool:
        running = {pool.submit(run, piece.command(folder)): piece for piece in sorted(pieces, key=_slow_first)}
        try:
            for done in as_completed(running):
                piece = running[done]
                numbers = {
                    "title": piece.title,
                    "command": piece.shown_command(folder),
                    "made_of": piece.made_of(folder),
                    **done.result(),
                }
                _write(piece.numbers(folder), json.dumps(numbers, indent=2, allow_nan=False) + "\n")
                yield piece
        finally:
            pool.shutdown(cancel_futures=True)
    write_pages(folder)


def _build_atlas(folder: Path) -> None:
    """The atlas that some pieces show, anew."""
    from viztool.atlas import build_atlas
    from viztool.models import load_model

    layers = ["blocks.1", "blocks.2", "blocks.4"]
    build_atlas(load_model(), folder / TILES, folder / ATLAS, layers=layers, restart=True)


def write_pages(folder: Path, pieces: Sequence[Piece] = PIECES) -> None:
    """Write the README and the page of the gallery. folder: where every piece is made."""
    _write(folder / "README.md", readme(folder, pieces))
    _write(folder / "index.html", page(folder, pieces))


def _slow_first(piece: Piece) -> bool:
    return not piece.slow


def _share(threads: int) -> None:
    """Leave the other workers their part of the cores."""
    import torch

    torch.set_num_threads(threads)


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as file:
        file.write(text.encode())
