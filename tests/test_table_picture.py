"""The drawn table says what the numbers say."""

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

import viztool
from viztool.cli import main
from viztool.render.raster import raster
from viztool.render.table import _BAR, _BAR_COLOR, Column, draw_table

NET = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.Conv2d(4, 8, 1), nn.ReLU()), nn.Flatten())


def bars(picture):
    """The length of each bar, from top to bottom and left to right."""
    blue = (picture == _BAR_COLOR).all(axis=2)
    found = []
    for y in range(1, len(blue)):
        starts = np.flatnonzero(np.diff(np.concatenate([[0], blue[y].astype(int), [0]])))
        if blue[y].any() and not blue[y - 1].any():
            found += (starts[1::2] - starts[::2]).tolist()
    return found


def test_a_bar_is_as_long_as_its_share():
    shares = [0.0, 0.01, 0.5, 1.0]
    column = Column("parameters", ["a", "b", "c", "d"], "right", shares)
    picture = raster(draw_table("net", "", [Column("layer", ["a", "b", "c", "d"]), column], [0, 0, 1, 2]))
    assert bars(picture) == [max(1, round(_BAR * share)) for share in shares[1:]]


def test_the_table_of_a_network_has_a_bar_for_each_share_of_it():
    table = viztool.layer_table(NET, torch.zeros(1, 3, 8, 8))
    expected = []
    for row in table.rows:
        shares = (row.parameters / table.parameters, row.macs / table.macs)
        expected += [max(1, round(_BAR * share)) for share in shares if share > 0]
    assert bars(table.picture()) == expected


def test_nothing_touches_the_margins():
    table = viztool.layer_table(nn.Sequential(*(nn.Sequential() for _ in range(3)), NET), torch.zeros(1, 3, 8, 8))
    picture = table.picture()
    for strip in (picture[:, :38], picture[:, -38:], picture[:38], picture[-38:]):
        assert (strip == 255).all()


def test_the_command_draws_it_and_keeps_what_exists(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["layers", "-m", "resnet18", "--depth", "1", "-o", "table.png"]
    first = CliRunner().invoke(main, arguments)
    assert first.exit_code == 0
    assert "layer4" in first.stdout
    written = Path("table.png").read_bytes()
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert Path("table.png").read_bytes() == written
    Path("table.png").write_bytes(b"another's")
    again = CliRunner().invoke(main, arguments)
    assert (again.exit_code, again.stdout) == (1, "")
    assert again.stderr == "Error: table.png exists; use --force to replace it or -o to write elsewhere\n"
    assert Path("table.png").read_bytes() == b"another's"


@pytest.mark.parametrize("depth", [1, None])
def test_the_picture_has_a_line_for_each_row(depth):
    table = viztool.layer_table(NET, torch.zeros(1, 3, 8, 8), depth=depth)
    empty = raster(draw_table("Sequential", "", [Column("layer", [])], []))
    assert len(table.picture()) == len(empty) + 22 * len(table.rows)
