"""The rules of the house: which rooms there are, and which may know which. Read from the imports, not by importing."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import viztool

HOUSE = Path(viztool.__file__).parent
ROOT = ["__init__", "__main__", "errors", "registry", "results"]
ROOMS = sorted(path.parent.name for path in HOUSE.glob("*/__init__.py"))

WRITERS = {"cv2", "io", "os", "pathlib", "PIL", "shutil", "tempfile", "zipfile"}
NUMERIC = {"cv2", "numpy", "PIL", "timm", "torch", "torchvision"}


def imports(tree):
    """Every module that a file imports when it runs, now or later; not those for a type checker alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{name.name}" for name in node.names)
        else:
            yield from imports(node)


def files_of(part):
    return sorted((HOUSE / part).rglob("*.py")) or [HOUSE / f"{part}.py"]


def known_to(part):
    """Modules outside of it that a room, or a file of the root, imports: {module: [file, ...]}."""
    found = {}
    for file in files_of(part):
        for module in imports(ast.parse(file.read_text(encoding="utf-8"))):
            if not module.startswith(f"viztool.{part}"):
                found.setdefault(module, []).append(str(file.relative_to(HOUSE)))
    return found


def rooms_known_to(part):
    # "viztool.__version__" is no room, and `import viztool` alone brings none.
    return {module.split(".")[1] for module in known_to(part) if module.startswith("viztool.")} - {"__version__"}


def brought(part, modules):
    return {module: files for module, files in known_to(part).items() if module.split(".")[0] in modules}


def test_the_root_holds_what_every_room_shares_and_no_more():
    assert sorted(path.stem for path in HOUSE.glob("*.py")) == ROOT
    assert [path.name for path in HOUSE.iterdir() if path.is_file() and path.suffix != ".py"] == ["py.typed"]
    assert sorted(path.name for path in HOUSE.iterdir() if path.is_dir() and path.name != "__pycache__") == ROOMS


def test_a_room_says_what_it_is():
    assert [
        room for room in ROOMS if not ast.get_docstring(ast.parse((HOUSE / room / "__init__.py").read_text()))
    ] == []


def test_rooms_know_only_rooms_below_them():
    """`prepare` raises CycleError, with the cycle, if there is one."""
    TopologicalSorter({part: rooms_known_to(part) for part in [*ROOMS, "errors", "registry", "results"]}).prepare()


@pytest.mark.parametrize("room", ["render", "images"])
def test_pictures_are_drawn_and_written_without_torch(room):
    assert brought(room, {"torch", "torchvision", "timm"}) == {}
    assert rooms_known_to(room) <= {"errors", "images"}


def test_hooks_open_no_files():
    assert brought("hooks", WRITERS) == {}
    assert rooms_known_to("hooks") == {"errors", "tensors"}
    calls = {
        ast.unparse(node.func)
        for file in files_of("hooks")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    }
    assert calls & {"open", "torch.load", "torch.save", "print"} == set()


def test_the_command_line_computes_nothing():
    # One file sets the seed and the device that were asked for.
    assert brought("cli", NUMERIC) == {"torch": ["cli/options.py"]}


def test_nobody_leans_on_the_command_line_or_the_gallery():
    knowing = {part: rooms_known_to(part) for part in [*ROOMS, "__main__"]}
    assert [part for part, rooms in knowing.items() if "cli" in rooms] == ["__main__"]
    assert [part for part, rooms in knowing.items() if "gallery" in rooms] == ["cli"]


def test_the_rooms_of_a_bare_import_are_rooms():
    assert set(viztool._ROOMS) - {"errors"} <= set(ROOMS)


IN_CODE = {"faithfulness/boxes.py", "kernels/objectives.py", "render/numbers.py", "render/charts.py", "render/plot.py"}
"""What an error quotes, what an objective is called, powers of ten, and the one way itself."""


@pytest.mark.parametrize("room", ["atlas", "circuits", "faithfulness", "features", "heatmaps", "kernels", "render"])
def test_numbers_on_sheets_are_written_one_way(room):
    """By `render.numbers`: of its own Python writes 1.4e+00 and 1.23e+03, and a % without its space."""
    found = [
        f"{file.relative_to(HOUSE)}:{node.lineno}"
        for file in files_of(room)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FormattedValue) and node.format_spec is not None
        if re.search(r"[ge%]'$", ast.unparse(node.format_spec))
    ]
    assert {place.split(":")[0] for place in found} <= IN_CODE


LOOKING = ["attribution", "cam", "circuits", "craft", "detectors", "features", "hooks", "kernels", "monitor", "targets"]


@pytest.mark.parametrize("room", LOOKING)
def test_no_lock_is_held_while_a_network_is_looked_at(room):
    """But those of `hooks.turns`: with a second one, threads would wait for each other forever."""
    assert known_to(room).get("functools.cached_property", []) in ([], ["hooks/turns.py"])
