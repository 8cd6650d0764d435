"""The sheets of an atlas: what is written on them, and where."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest
from atlas_helpers import photo, small_model

from viztool.atlas.build import build_atlas
from viztool.atlas.crops import Album
from viztool.atlas.sheet import AtlasSheet
from viztool.render.atlas_sheet import AtlasPage, Counted, Crop, UnitRow, atlas_page
from viztool.render.svg import svg


@pytest.mark.parametrize(
    ("named", "says"),
    [(True, "2 of the layer's 6 units, as named."), (False, "2 of the layer's 6 units, those whose best photo stands")],
)
def test_a_sheet_says_of_how_many_units_it_shows_which(tmp_path, named, says):
    atlas = build_atlas(small_model(), [photo(0), photo(1)], tmp_path / "a", layers=["1"])
    sheet = AtlasSheet(atlas, "1", [0, 3], Album(atlas), named)
    assert says in " ".join(texts(sheet.drawing()))
    assert sheet.in_words == "2 of 6 units of 1 over 2 photos"


def texts(drawing):
    root = ElementTree.fromstring(svg(drawing, "{}"))
    return ["".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")]


def words_on(rows=(), **options):
    """All that is written on a sheet, in the order of drawing."""
    return texts(atlas_page(AtlasPage("Title", "subtitle", [], rows, "footer", **options)))


def row(value=0.5, lines=(), crops=()):
    return UnitRow("1 / 0", lines, Counted(np.linspace(0, 1, 5), np.ones(4, np.int64), [("here", value)]), crops)


@pytest.mark.parametrize(
    ("value", "says"), [(0.5, "here 0.5"), (2.96, "here 2.96: off the scale →"), (-3.0, "← here −3: off the scale")]
)
def test_a_value_off_the_scale_is_not_drawn_at_its_end(value, says):
    assert says in words_on([row(value)])


def test_numbers_are_not_cut():
    said = " ".join(words_on([row(lines=["maximum 0.0148 ± 0.00349, up to 0.0183", "a" * 90])]))
    assert "maximum 0.0148 ± 0.00349, up to 0.0183" in said
    assert "aa…aa" in said  # nor does a long word run into the histogram


def test_boxes_that_are_the_same_have_one_label_with_all_their_words():
    whole, part = (0.0, 0.0, 60.0, 80.0), (0.0, 0.0, 30.0, 30.0)
    boxes = [("1", whole), ("2", part), ("3", whole), ("4", (30.0, 40.0, 60.0, 80.0))]
    view = np.zeros((60, 80, 3), np.uint8)
    page = AtlasPage("Title", "subtitle", [], [], "footer", view=view, boxes=boxes)
    root = ElementTree.fromstring(svg(atlas_page(page), "{}"))
    found = {"".join(one.itertext()): one for one in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"1, 3", "2", "4"} <= set(found)
    # The second begins at the same corner: its label stands beside the first one's.
    assert float(found["2"].get("x")) > float(found["1, 3"].get("x")) + 15


def test_a_photo_that_is_not_there_is_not_a_blank():
    assert (
        words_on([row(crops=[Crop(None, "0.5", "most"), Crop(np.zeros((4, 4, 3), np.uint8), "0.4")])]).count(
            "not there"
        )
        == 1
    )


def test_a_row_is_as_high_as_its_words():
    """Eight lines do not run into the next row, which begins where this one ends."""
    high, usual = (
        atlas_page(AtlasPage("Title", "subtitle", [], [row(lines=["word"] * count)], "footer")) for count in (8, 4)
    )
    lowest = max(
        float(one.get("y"))
        for one in ElementTree.fromstring(svg(high, "{}")).iter("{http://www.w3.org/2000/svg}text")
        if one.text == "word"
    )
    assert lowest == 183
    assert high.height - usual.height == lowest + 19 - 142
