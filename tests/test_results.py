"""What every result can do: show itself, in a line or a few, in a notebook as a picture or a table."""

import base64
import dataclasses
import importlib
import pkgutil

import numpy as np
import pytest
import torch
from torch import nn

import viztool
from viztool.images import png_bytes
from viztool.render.written_table import html_table, plain_table
from viztool.results import Part, Result, Results, made_by, versions


class Square(Result):
    def __init__(self, words, side=2):
        self.words, self.side = words, side

    def picture(self):
        return np.full((self.side, self.side, 3), 7, np.uint8)

    numbers = property(lambda self: {"side": self.side})

    @property
    def in_words(self):
        return self.words


@dataclasses.dataclass(frozen=True, repr=False)
class Piece(Part):
    map: torch.Tensor
    cells: np.ndarray
    name: str
    score: torch.Tensor


@pytest.fixture(scope="module")
def model():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    return viztool.wrap_model(net, size=32, mean=0.5, std=0.5)


@pytest.fixture(scope="module")
def photo():
    return np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)


def kinds(base):
    for module in pkgutil.walk_packages(viztool.__path__, "viztool."):
        if module.name != "viztool.__main__":
            importlib.import_module(module.name)
    return [kind for kind in base.__subclasses__() if kind.__module__.startswith("viztool.")]


def test_no_result_and_no_part_of_one_writes_out_its_arrays():
    """A dataclass writes a `__repr__` of its own, unless it is told not to."""
    own = [kind.__name__ for kind in [*kinds(Result), *kinds(Part)] if "__repr__" in vars(kind)]
    assert own == ["FeatureMaps"]
    assert all(kind.in_words is not Result.in_words for kind in kinds(Result))


def test_a_result_says_what_it_is_in_a_few_lines():
    assert repr(Square("all is well")) == "Square(all is well)"
    assert repr(Square("a\nb\nc\nd\ne")) == "Square(a\nb\nc\nd …)"
    assert repr(Square("x" * 500)) == f"Square({'x' * 400} …)"


def test_a_part_gives_arrays_by_their_shapes():
    piece = Piece(torch.zeros(2, 3), np.zeros((4, 5, 6)), "blocks.4", torch.tensor(0.5))
    assert repr(piece) == "Piece(map=<2 × 3>, cells=<4 × 5 × 6>, name='blocks.4', score=tensor(0.5000))"


def test_what_it_was_made_with_is_in_the_numbers_and_at_the_foot(model, photo):
    made = {"viztool": viztool.__version__, "torch": str(torch.__version__)}
    assert versions() == made
    assert made_by() == f"viztool {made['viztool']} · torch {made['torch']}"
    assert viztool.feature_maps(model, photo).numbers["versions"] == made


class TestResults:
    def test_it_is_a_list_with_a_line_for_each(self):
        several = Results([Square("one"), Square("two")])
        assert isinstance(several, list)
        assert repr(several) == "[Square(one),\n Square(two)]"
        assert repr(Results()) == "[]"

    def test_in_a_notebook_it_is_its_pictures(self):
        first, second = Square("<b>", 2), Square("two", 3)
        shown = Results([first, second])._repr_html_()
        for each in (first, second):
            assert base64.b64encode(png_bytes(each.picture())).decode() in shown
        assert "<figcaption>&lt;b&gt;</figcaption>" in shown
        assert "more" not in shown

    def test_of_many_it_shows_the_first_and_says_how_many_are_left(self):
        shown = Results([Square(str(at)) for at in range(10)])._repr_html_()
        assert shown.count("<img") == 8
        assert shown.endswith("<p>and 2 more</p>")

    def test_several_photos_give_one(self, model, photo):
        several = viztool.feature_maps(model, [photo, photo], "1")
        assert type(several) is Results
        assert repr(several).count("FeatureMaps(photo, Sequential: 1 (4, 30, 30))") == 2
        heatmap = viztool.class_activation_map(model, photo)
        assert type(viztool.evaluate_heatmap(model, photo, [heatmap, heatmap], steps=2, draws=2)) is Results


class TestTables:
    ROWS = (("layer", "size"), ("  <conv>", "1,000"), ("fc", "9"))

    def test_plain(self):
        assert plain_table(self.ROWS, {1}) == "layer      size\n  <conv>  1,000\nfc            9"

    def test_html_keeps_the_indent_and_the_text(self):
        lines = html_table(self.ROWS, {1}).splitlines()
        assert [lines[0], lines[-1], len(lines)] == ["<table>", "</table>", 5]
        assert lines[2] == (
            '<tr><td style="text-align: left; white-space: pre">  &lt;conv&gt;</td>'
            '<td style="text-align: right; white-space: pre">1,000</td></tr>'
        )

    def test_a_layer_table_is_one_in_a_notebook(self, model):
        table = viztool.layer_table(model)
        assert repr(table) == "LayerTable(Sequential: 5 layers, 127 parameters, 97,212 multiply-adds)"
        shown = table._repr_html_()
        assert shown.count("<tr>") == len(table.rows) + 2 == len(str(table).splitlines())
        assert "total" in shown.splitlines()[-2]
