"""What the README shows is so, each in a fresh process: its code runs, its commands are understood."""

import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

import pytest

import viztool

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
NETS = "import torchvision\n\n\ndef build():\n    return torchvision.models.resnet18(num_classes=2)\n"


class Block(NamedTuple):
    line: int
    language: str
    text: str


def blocks():
    for found in re.finditer(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL):
        yield Block(README[: found.start()].count("\n") + 1, *found.groups())


def named(block):
    return f"line {block.line}"


PYTHON = [block for block in blocks() if block.language == "python"]
SHELL = [block for block in blocks() if not block.language and re.search(r"^viztool |&& ", block.text, re.MULTILINE)]

GIVEN = {
    "with viztool.capture": """
        import torch, torchvision, viztool
        net, x = torchvision.models.resnet18(num_classes=1000).eval(), torch.randn(1, 3, 64, 64)
        """,
    "heatmap = viztool.class_activation_map": """
        import viztool
        model, photo = viztool.load_model(size=64), viztool.read_image("gallery/inputs/coffee.jpg")
        """,
}
"""What a block that is a part of something takes for given, by what it begins with."""

AS_SMALL = {
    "features": "--size 64",
    "cam": "--size 64",
    "attribute": "--size 64",
    "evaluate": "--size 64",
    "kernels": "--steps 2 --size 32",
    "dream": "",
    "demo": "",
    "layers": "",
    "models": "",
}
"""What is put behind a line to make it cheap; one without an entry is not run."""

NOT_RUN = {
    "viztool features photo.jpg -m resnet50": "downloads weights",
    "viztool evaluate photos/ --method all": "takes minutes",
    "viztool kernels -l blocks.4 -c 14 --compare transforms": "six ascents",
    "viztool dream photo.jpg -l blocks.4": "takes half a minute",
    "viztool about photo_features.png": "is of what another line draws",
    "viztool gallery": "writes into the gallery",
}
"""Lines of which only the options are read, and why."""


@pytest.fixture
def folder(tmp_path):
    """What the README's commands are given: a photo, a folder of them, a network and its weights."""
    (tmp_path / "gallery").symlink_to(ROOT / "gallery")
    (tmp_path / "photo.jpg").symlink_to(ROOT / "gallery/inputs/coffee.jpg")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/cat.jpg").symlink_to(ROOT / "gallery/inputs/cat.jpg")
    (tmp_path / "nets.py").write_text(NETS)
    return tmp_path


def run(code, folder, *arguments):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_block_is_of_a_kind_that_is_tested():
    assert [block for block in blocks() if block not in PYTHON and block not in SHELL] == []
    assert README.count("\n") <= 160
    assert all(any(block.text.startswith(start) for block in PYTHON) for start in GIVEN)


def test_the_first_hour_types_every_command(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    import first_hour

    lines = list(first_hour.lines(README))
    assert lines == [line.partition("  #")[0].strip() for block in SHELL for line in block.text.splitlines()]
    assert [begin for begin in first_hour.SMALL if not any(line.startswith(begin) for line in lines)] == []
    assert first_hour.typed("viztool evaluate photos/ --method all", small=True).count("--method") == 1
    assert [first_hour.typed(line, small=True) for line in lines[:2]] == [lines[0], "pip install '.[test]'"]


@pytest.mark.parametrize("block", PYTHON, ids=named)
def test_python_runs(block, folder):
    given = next((textwrap.dedent(given) for start, given in GIVEN.items() if block.text.startswith(start)), "")
    run(given + block.text, folder)


COMMANDS = """
    import json, os, shlex, sys
    from pathlib import Path
    from viztool.cli import main

    for line, also in json.loads(sys.argv[1]):
        arguments = shlex.split(line, comments=True)[1:]
        with main.make_context("viztool", arguments) as group:
            name, command, rest = main.resolve_command(group, [*group._protected_args, *group.args])
            command.make_context(name, rest, parent=group)
        if also is not None:
            # Each in a folder of its own: one must not find what another wrote.
            home, here = Path.cwd(), Path(f"run {line[:60]}".replace("/", "_"))
            here.mkdir()
            for each in ("photo.jpg", "photos", "nets.py", "gallery"):
                (here / each).symlink_to(home / each)
            os.chdir(here)
            assert not main([*arguments, *shlex.split(also)], standalone_mode=False), line
            os.chdir(home)
"""


@pytest.mark.parametrize("block", SHELL, ids=named)
def test_commands_are_understood_and_the_cheap_ones_run(block, folder):
    lines = [part.strip() for line in block.text.splitlines() for part in line.partition("#")[0].split("&&")]
    ours = [line for line in lines if line.startswith("viztool ")]
    assert all(re.match(r"pip install |pytest$", line) for line in lines if line not in ours)
    assert all(line in NOT_RUN or line.split()[1] in AS_SMALL for line in ours)
    run(COMMANDS, folder, json.dumps([(line, None if line in NOT_RUN else AS_SMALL[line.split()[1]]) for line in ours]))


def test_what_is_not_run_is_in_the_readme():
    assert [line for line in NOT_RUN if not re.search(rf"^{re.escape(line)}\s*(#|$)", README, re.MULTILINE)] == []


SPOKEN = sorted(set(re.findall(r"`(viztool(?:\.\w+)+)", re.sub(r"^```.*?^```$", "", README, flags=re.M | re.S))))


@pytest.mark.parametrize("name", SPOKEN)
def test_a_name_in_the_text_is_there_after_a_bare_import(name, folder):
    run(f"import viztool\n{name}", folder)


def test_the_rooms_in_the_drawing_are_there():
    drawing = (viztool.__doc__ or "").partition("    photo →")[2]
    rooms = drawing.splitlines()[1]
    assert "hooks" in rooms
    assert all((ROOT / "viztool" / room / "__init__.py").is_file() for room in re.findall(r"\w+", rooms))


def test_links_lead_to_files():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    paths = re.findall(r"`(scripts/\w+\.py)`", README)
    assert [path for path in [*links, *paths] if not (ROOT / path).exists()] == []
