"""What a picture is made of: the modules that it is drawn with, read as Python reads them."""

from __future__ import annotations

import ast
import hashlib
import io
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TypeGuard

import viztool

_HOUSE = Path(viztool.__file__).parent
TILES = "tiles.tar"
"""Parts of the photos, which the atlas of the gallery and its concepts are made of."""

_TO_FILES = {"svg", "pdf", "png", "writing", "marks", "finding", "naming", "film"}  # how a drawing gets into a file

_OF_TILES = ("atlas", "circuit", "concepts")

_ROOTS = {
    "features": ("viztool.features", "viztool.models.load"),
    "cam": ("viztool.cam", "viztool.cli.heatmaps", "viztool.models.load"),
    "attribute": ("viztool.attribution", "viztool.cli.heatmaps", "viztool.models.load"),
    "kernels": ("viztool.kernels", "viztool.models.load"),
    "circuit": ("viztool.circuits", "viztool.models.load"),
    "dream": ("viztool.kernels", "viztool.models.load"),
    "demo": ("viztool.demos.run",),
    "atlas": ("viztool.atlas.sheet", "viztool.atlas.unusual_sheet", "viztool.atlas.build", "viztool.models.load"),
    "concepts": ("viztool.craft", "viztool.models.load"),
}
"""Where the drawing of each command begins; of the command line itself only what writes on a sheet."""


def program(arguments: Sequence[str]) -> bytes:
    """A digest of the modules behind a command, without their comments, docstrings and layout."""
    digest = hashlib.sha256()
    for name in sorted(reached((*_ROOTS[arguments[0]], *_demo(arguments)))):
        digest.update(name.encode() + b"\0" + _meaning(_file(name)))
    return digest.digest()


def photos(arguments: Sequence[str], inputs: Path) -> bytes:
    """A digest of the photos that a command names, and of the one that a demo has of its own."""
    files = [inputs / Path(argument).name for argument in arguments if argument.startswith("{inputs}")]
    if arguments[0] in _OF_TILES:
        files.append(inputs.parent / TILES)
    if arguments[0] == "demo" and not files:
        from viztool.demos.photo import reference_path
        from viztool.demos.registry import find

        files.append(reference_path(find(arguments[1]).photo))
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.digest()


def _demo(arguments: Sequence[str]) -> tuple[str, ...]:
    """The module of the demo, or of its question to a network."""
    if arguments[0] != "demo":
        return ()
    from viztool.demos.registry import find, find_on_network

    if "-m" in arguments:
        return find_on_network(arguments[1]).tell.__module__, "viztool.models.load"
    return (find(arguments[1]).tell.__module__,)


def reached(roots: Iterable[str]) -> set[str]:
    """The modules of the house that these import, at the top or inside a function, and so on."""
    seen: set[str] = set()
    todo = list(roots)
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        todo += _imported(name)
    return seen


@cache
def _imported(name: str) -> tuple[str, ...]:
    """What a module imports; of one that looks for files in its folder, these too."""
    found = []
    tree = ast.parse(_file(name).read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found += [f"{node.module}.{alias.name}" for alias in node.names] + [node.module]
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
    if _file(name).name == "__init__.py" and any(alias.endswith("pkgutil") for alias in found):
        found += _beside(name)
    return tuple(dict.fromkeys(each for each in found if _counts(each)))


def _beside(package: str) -> Iterator[str]:
    for file in sorted(_file(package).parent.glob("*.py")):
        if file.name != "__init__.py":
            yield f"{package}.{file.stem}"


def _counts(name: str) -> bool:
    """Whether it is a module of the house that a picture can depend on: not its front door, nor the command line."""
    parts = name.split(".")
    if parts[0] != "viztool" or len(parts) < 2 or (parts[1] == "cli" and name != "viztool.cli.heatmaps"):
        return False
    return parts[-1] not in _TO_FILES and name not in ("viztool.demos", "viztool.images") and _file(name).is_file()


def _file(name: str) -> Path:
    path = _HOUSE.joinpath(*name.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def _meaning(file: Path) -> bytes:
    """A module without its comments, docstrings and layout; the same whichever Python reads it."""
    source = file.read_text(encoding="utf-8")
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(source)):
        if _is_words(node):
            lines[node.lineno - 1 : node.end_lineno] = [""] * ((node.end_lineno or node.lineno) - node.lineno + 1)
    return "".join("".join(lines).split()).encode()


def _is_words(node: ast.AST) -> TypeGuard[ast.Expr]:
    """Whether a statement is a string alone: a docstring, or words below a constant."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
