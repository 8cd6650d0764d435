"""A demo as a slide."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from viztool.cli import main
from viztool.demos import demos, run_demo
from viztool.render.canvas import Canvas, Fill, Placed, Text
from viztool.render.enlarged import enlarged
from viztool.render.plot import Curve, Plot
from viztool.render.raster import raster
from viztool.render.text import BODY, text_width


@pytest.mark.parametrize("name", [one.name for one in demos().values() if not one.trains])
def test_every_demo_has_a_slide_with_its_title_a_picture_and_a_claim_of_its_own(name):
    result = run_demo(name)
    slide = result.as_slide()
    said = {drawn.text for drawn in _all(slide.drawing()) if isinstance(drawn, Text)}
    assert result.title in said
    shown = [claim for claim in result.claims if claim.sentence.split()[0] in " ".join(said)]
    assert shown
    picture = slide.picture()
    assert picture.shape == (1080, 1920, 3)
    assert (picture[:, :60] == 255).all(), "something stands in the margin"
    assert (picture[:, -60:] == 255).all(), "something is cut off at the right"
    assert (picture[180:700] != 255).mean() > 0.01


def _all(canvas):
    for drawn in canvas.drawn:
        if hasattr(drawn, "canvas"):
            yield from _all(drawn.canvas)
        else:
            yield drawn


def test_what_is_larger_keeps_its_place_and_its_ends():
    small = Canvas(50, 200)
    small.fill(10, 10, 30, 5, (0, 0, 0))
    small.text("12.5 %", 190, 40, BODY, "right")
    large = enlarged(small, 2.5)
    fill, text = large.drawn
    assert fill == Fill(25, 25, 75, 13, (0, 0, 0))
    assert abs(text.x + text_width(text.text, text.style) - 475) <= 1
    assert text_width(text.text, text.style) <= 2.5 * text_width("12.5 %", BODY)
    assert np.array_equal(raster(enlarged(small, 1.0)), raster(small))


def test_the_name_of_an_axis_keeps_what_hangs_below_its_line():
    plot = Plot([Curve(np.arange(3.0), np.arange(3.0), "")], "name", "gypj, gypj")
    (placed,) = (drawn for drawn in plot.draw().drawn if isinstance(drawn, Placed))
    for factor in (1.0, 2.0, 3.0):
        page = raster(enlarged(placed.canvas, factor))
        assert (page[-2:] == 255).all(), "letters are cut off"


def test_from_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["demo", "convolution", "--slide"])
    assert (result.exit_code, result.output) == (0, "convolution_slide.png\n")
    assert Path("convolution_slide.png").is_file()
