"""Rows about folders of photos: the command beside the least that it could do."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from unittest.mock import patch

import torch
from click.testing import CliRunner

import viztool
from benchmarks.contest import Contest, Work, cpu_seconds, row
from viztool.cli import main
from viztool.images import write_image
from viztool.models.model import Model

INPUTS = Path(__file__).parents[2] / "gallery" / "inputs"
PHOTOS = 24
FLOOR = "read, preprocess, forward"


@cache
def model() -> Model:
    """The embedded network: to load it is no part of the cost."""
    return viztool.load_model()


def folder(stack: ExitStack) -> Path:
    """Photos of the gallery, several times over, and each a little different."""
    path = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    known = sorted(INPUTS.glob("*.jpg"))
    for index in range(PHOTOS):
        photo = viztool.read_image(known[index % len(known)])
        write_image(path / f"{index:02}.jpg", photo[index:, index:])
    return path


def command(name: str, photos: Path, stack: ExitStack) -> Work:
    """The command, in this process."""
    target = stack.enter_context(tempfile.TemporaryDirectory())
    stack.enter_context(patch("viztool.cli.batch.load", lambda options: model()))

    def work() -> None:
        done = CliRunner().invoke(main, [name, str(photos), "-o", target, "--quiet"], catch_exceptions=False)
        if done.exit_code or len(list(Path(target).iterdir())) != PHOTOS:
            raise RuntimeError(done.output)

    return work


def least(photos: Path) -> Work:
    def work() -> None:
        for path in sorted(photos.iterdir()):
            with torch.no_grad():
                model().net(model().preprocess(viztool.read_image(path)))

    return work


@row(f"viztool features FOLDER, {PHOTOS} photos", FLOOR, mark=1.6, pairs=7)
def features_of_a_folder(stack: ExitStack) -> Contest:
    photos = folder(stack)
    return Contest(command("features", photos, stack), least(photos))


@row(f"viztool features FOLDER, {PHOTOS} photos; CPU time", FLOOR, pairs=5)
def features_of_a_folder_cpu(stack: ExitStack) -> Contest:
    photos = folder(stack)
    return Contest(command("features", photos, stack), least(photos), cpu_seconds)


@row(f"viztool cam FOLDER, {PHOTOS} photos", FLOOR, mark=1.6, pairs=7)
def cams_of_a_folder(stack: ExitStack) -> Contest:
    photos = folder(stack)
    return Contest(command("cam", photos, stack), least(photos))


@row(f"viztool cam FOLDER, {PHOTOS} photos; CPU time", FLOOR, pairs=5)
def cams_of_a_folder_cpu(stack: ExitStack) -> Contest:
    photos = folder(stack)
    return Contest(command("cam", photos, stack), least(photos), cpu_seconds)
