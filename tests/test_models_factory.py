import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from viztool.errors import ModelError
from viztool.models.factory import build

SOURCE = """
from dataclasses import dataclass

import torch
from torch import nn

from blocks import WIDTH  # a neighbour of this file


@dataclass
class Options:
    width: int = WIDTH


class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, Options().width, 3))


def build():
    from blocks import late

    return late(Net())


def needs_argument(width):
    return Net()


def broken():
    raise ValueError("no such width\\nsecond line")


def quits():
    raise SystemExit(2)


def gives_a_dict():
    return {}


ready = Net()
number = 3
"""


@pytest.fixture
def nets(tmp_path, monkeypatch) -> Path:
    (tmp_path / "nets.py").write_text(SOURCE)
    (tmp_path / "blocks.py").write_text("WIDTH = 5\n\ndef late(net):\n    return net\n")
    monkeypatch.delitem(sys.modules, "blocks", raising=False)
    return tmp_path / "nets.py"


@pytest.mark.parametrize("factory", ["build", "Net", "ready"])
def test_functions_classes_and_ready_networks(factory, nets):
    before = list(sys.path)
    net = build(f"{nets}:{factory}")
    assert isinstance(net, nn.Sequential) and net[0].out_channels == 5
    assert sys.path == before


def test_a_ready_network_is_copied(nets, monkeypatch):
    monkeypatch.chdir(nets.parent)
    net = build("nets:ready")
    original = sys.modules.pop("nets").ready
    assert net is not original and torch.equal(net[0].weight, original[0].weight)


def test_a_module_of_the_current_folder(nets, monkeypatch):
    package = nets.parent / "project"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "nets.py").write_text("from torch import nn\n\ndef build():\n    return nn.Conv2d(1, 2, 3)\n")
    monkeypatch.chdir(nets.parent)
    assert build("project.nets:build").out_channels == 2


def test_an_edited_file_is_read_again(tmp_path):
    file = tmp_path / "edited.py"
    for width in (2, 31):
        file.write_text(f"from torch import nn\n\ndef build():\n    return nn.Conv2d(1, {width}, 3)\n")
        assert build(f"{file}:build").out_channels == width


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("biuld", "{file} has no 'biuld'; it has build"),
        ("zzz", "{file} has no 'zzz'; it has Net, build, needs_argument"),
        (
            "needs_argument",
            "{file}:needs_argument fails: TypeError: needs_argument() missing 1 required positional argument: 'width'",
        ),
        ("broken", "{file}:broken fails: ValueError: no such width"),
        ("quits", "{file}:quits fails: SystemExit: 2"),
        ("gives_a_dict", "{file}:gives_a_dict returns a dict, not a torch.nn.Module or a viztool Model"),
        ("number", "{file}:number is a int, not a function that builds a network"),
        ("", "'{file}:': name a function that builds the network, as in nets.py:build"),
    ],
)
def test_factories_that_are_none(factory, message, nets):
    with pytest.raises(ModelError) as error:
        build(f"{nets}:{factory}")
    assert str(error.value) == message.format(file=nets)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import no_such_package\n", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("raise SystemExit\n", "SystemExit"),
        ("1 / 0\n", "ZeroDivisionError: division by zero"),
        ("def build(:\n", "SyntaxError: invalid syntax (broken.py, line 1)"),
    ],
)
def test_files_that_cannot_be_run(source, message, tmp_path):
    file = tmp_path / "broken.py"
    file.write_text(source)
    with pytest.raises(ModelError) as error:
        build(f"{file}:build")
    assert str(error.value) == f"{file} cannot be run: {message}"
    assert "_viztool_broken" not in sys.modules


def test_files_and_modules_that_are_not_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "halfway.py").write_text("import no_such_package\n")
    for spec, message in {
        "missing.py:build": "there is no file missing.py",
        "missing.nets:build": "there is no module 'missing.nets' to import; a file is named as in nets.py:build",
        "halfway:build": "halfway cannot be imported: ModuleNotFoundError: No module named 'no_such_package'",
    }.items():
        with pytest.raises(ModelError) as error:
            build(spec)
        assert str(error.value) == message
