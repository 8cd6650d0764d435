"""Sheets as SVG and PDF: every word a word, every map a picture in its own cells, every curve a curve."""

import base64
import io
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from pdf_text import images, objects, words
from PIL import Image
from torch import nn

import viztool
from viztool.cli import main
from viztool.heatmaps import Comparison
from viztool.render.canvas import Canvas, Placed, stack
from viztool.render.colormaps import colorize
from viztool.render.curves import BLUE, ORANGE, CurveBand, CurveSheet, Line, Panel, curve_sheet
from viztool.render.pdf import pdf
from viztool.render.predictions import Predictions
from viztool.render.raster import raster
from viztool.render.sheet import Band, Header, Sheet, contact_sheet
from viztool.render.svg import svg
from viztool.render.text import BODY, INK, TINY, Style, text_width
from viztool.render.tiles import Tile

NAMESPACE = "{http://www.w3.org/2000/svg}"
LINK = "{http://www.w3.org/1999/xlink}href"
RNG = np.random.default_rng(0)


def parsed(canvas):
    return ElementTree.fromstring(svg(canvas, "{}"))


def elements(root, name):
    return list(root.iter(f"{NAMESPACE}{name}"))


def pixels_of(element):
    content = base64.b64decode(element.get(LINK).removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def sheet():
    """A contact sheet of three maps of 7 × 5 units and one that shows nothing; the words on it; the maps."""
    maps = RNG.normal(size=(3, 7, 5)).astype(np.float32)
    photo = RNG.integers(0, 256, (90, 60, 3), dtype=np.uint8)
    header = Header(
        "cat & <dog>.jpg", "a net", photo, None, Predictions((("tabby", 0.75), ("lynx", 0.25))), ["A note."]
    )
    tiles = [Tile(each, 1.5, f"#{index}", "σ 2") for index, each in enumerate(maps)]
    tiles.append(Tile(maps[0], 1.0, "#9", mark="dead"))
    band = Band("blocks.4", ["Conv2d", "4 channels of 7 × 5"], tiles, True, ("−max", "0", "max"))
    said = ["cat & <dog>.jpg", "a net", "tabby", "75.0 %", "lynx", "25.0 %", "A note.", "blocks.4", "Conv2d"]
    said += ["4 channels of 7 × 5", "−max", "0", "max", "#0  σ 2", "#1  σ 2", "#2  σ 2", "dead", "#9", "the foot"]
    return contact_sheet(Sheet(header, [band], "the foot", 7 / 5)), said, maps, photo


class TestSvg:
    def test_every_word_of_the_sheet_is_a_text_as_wide_as_it_was_laid_out(self):
        drawing, said, _, _ = sheet()
        found = elements(parsed(drawing), "text")
        assert sorted(text.text for text in found) == sorted(said)
        title = next(text for text in found if text.text == "cat & <dog>.jpg")
        assert int(title.get("textLength")) == text_width("cat & <dog>.jpg", Style(26, 600))

    def test_each_map_is_a_picture_in_its_own_cells(self):
        drawing, _, maps, photo = sheet()
        found = [pixels_of(image) for image in elements(parsed(drawing), "image")]
        sharp = [image.get("style") == "image-rendering:pixelated" for image in elements(parsed(drawing), "image")]
        assert [picture.shape[:2] for picture in found] == [(90, 60), (9, 168), (7, 5), (7, 5), (7, 5)]
        assert sharp == [False, True, True, True, True]
        np.testing.assert_array_equal(found[0], photo)
        for picture, values in zip(found[2:], maps, strict=True):
            np.testing.assert_array_equal(picture, colorize(values, 1.5))

    def test_each_curve_is_a_path_through_its_points(self):
        drawing, _, (x, y, width, height) = curves()
        paths = [path for path in elements(parsed(drawing), "path") if path.get("fill") == "none"]
        assert [path.get("stroke") for path in paths] == ["#2166ac", "#c46a1c"]
        falling = np.array(re.findall(r"([\d.]+) ([\d.]+)", paths[0].get("d")), float)
        expected = np.stack([x + SHARES * (width - 1), y + SHARES * (height - 1)], 1) + 0.5
        np.testing.assert_allclose(falling, expected, atol=0.006)
        assert elements(parsed(drawing), "image") == []
        area = next(path for path in elements(parsed(drawing), "path") if path.get("fill-opacity"))
        assert area.get("d").count(" ") == 2 * len(SHARES)

    def test_what_xml_does_not_know_and_what_the_font_lacks(self):
        canvas = Canvas(20, 200)
        canvas.text("a\x07\n\ud800b <b>&amp; 中", 0, 15, BODY)
        assert elements(parsed(canvas), "text")[0].text == "a\ufffd\ufffd\ufffdb <b>&amp; 中"

    def test_a_gap_in_a_curve_stays_one(self):
        canvas = Canvas(20, 20)
        canvas.curve(np.array([[0.0, 0], [1, 1], [2, np.nan], [3, 3], [4, 4]]), INK, 2)
        assert elements(parsed(canvas), "path")[0].get("d") == "M0.50 0.50L1.50 1.50M3.50 3.50L4.50 4.50"

    def test_shapes_lie_on_the_pixels_that_they_fill(self):
        canvas = Canvas(40, 40)
        canvas.fill(2, 3, 10, 5, (1, 2, 3))
        canvas.frame(5, 20, 8, 6, (4, 5, 6))
        canvas.line((20, 10), (30, 10), (7, 8, 9))
        root = parsed(canvas)
        white, full, outline = (dict(each.attrib) for each in elements(root, "rect"))
        assert (white["width"], white["fill"]) == ("40", "#ffffff")
        assert full == {"x": "2", "y": "3", "width": "10", "height": "5", "fill": "#010203"}
        assert (outline["x"], outline["y"], outline["width"], outline["height"]) == ("5.5", "20.5", "7", "5")
        assert elements(root, "path")[0].get("d") == "M20.5 10.5L30.5 10.5"
        picture = raster(canvas)
        assert (picture == (1, 2, 3)).all(2).sum() == 50
        assert np.argwhere((picture == (4, 5, 6)).all(2))[[0, -1]].tolist() == [[20, 5], [25, 12]]
        assert np.argwhere((picture == (7, 8, 9)).all(2)).tolist() == [[10, x] for x in range(20, 31)]

    def test_a_photo_has_no_more_pixels_than_print_shows(self):
        canvas = Canvas(50, 50)
        canvas.picture(0, 0, RNG.integers(0, 256, (400, 800, 3), dtype=np.uint8), (20, 40))
        assert pixels_of(elements(parsed(canvas), "image")[0]).shape[:2] == (60, 120)


SHARES = np.linspace(0, 1, 5)


def curves():
    """Two lines and a band; the words beside them; the inside of the plot: (x, y, width, height)."""
    lines = [Line(SHARES, 1 - SHARES, BLUE), Line(SHARES, np.full(5, 0.5), ORANGE, np.full(5, 0.1))]
    band = CurveBand("cat.jpg", "gradcam", [("", "map"), ("deletion", "0.24")], [Panel("t", [], "x", lines)])
    drawing = curve_sheet(CurveSheet("title", "under", [], [band], "foot"))
    return drawing, ["title", "cat.jpg", "deletion", "0.24"], (1340 - 40 - 198, 78, 198, 176)


class TestPdf:
    def test_every_word_of_the_sheet_can_be_searched(self):
        drawing, said, _, _ = sheet()
        found = words(pdf(drawing))
        for text in said:
            assert text.replace(" ", "") in found
        assert len(found) == sum(len(text.replace(" ", "")) for text in said)

    def test_each_map_is_a_picture_in_its_own_cells(self):
        drawing, _, _, _ = sheet()
        assert images(pdf(drawing)) == [(5, 7), (5, 7), (5, 7), (60, 90), (168, 9)]

    def test_the_page_is_as_large_as_the_sheet_at_96_pixels_an_inch(self):
        canvas = Canvas(400, 800)
        canvas.text("x", 0, 10, TINY)
        assert b"/MediaBox [ 0 0 600 300 ]" in pdf(canvas)
        assert b"/MediaBox [ 0 0 14.4 14400 ]" in pdf(Canvas(100_000, 100)), "as long as a page may be"

    def test_numbers_below_one_another_end_at_the_same_place(self):
        ends = []
        for number in ("7", "352,999,136"):
            canvas = Canvas(20, 400)
            canvas.text(number, 300, 15, BODY, "right")
            left, wide = place_and_width(pdf(canvas), number)
            ends.append(left + wide)
        assert ends == pytest.approx([300 * 0.75] * 2, abs=0.3)

    def test_a_letter_that_the_font_lacks_is_marked(self):
        canvas = Canvas(20, 200)
        canvas.text("a 中 b", 0, 15, BODY)
        assert words(pdf(canvas)) == "a\ufffdb"

    def test_the_same_bytes_each_time(self):
        drawing, *_ = curves()
        assert pdf(drawing) == pdf(drawing)


def place_and_width(content, text):
    """Of the first text: its left end and its width in points, by the advances of DejaVu's letters."""
    stream = next(stream for _, stream in objects(content).values() if b" Tf" in stream)
    left = float(re.search(rb"1 0 -?0 1 ([\d.]+) [\d.]+ cm\s+BT|BT.*?([\d.]+) [\d.]+ Td", stream, re.DOTALL)[1])
    size = float(re.search(rb"/F\d+ ([\d.]+) Tf", stream)[1])
    advance = {**dict.fromkeys("0123456789", 1303), ",": 651}
    return left, sum(advance[letter] for letter in text) / 2048 * size


def moved(drawing, down):
    """The same after blank rows."""
    return stack([Canvas(down, drawing.width), drawing])


def test_a_placed_canvas_lies_where_it_is_put():
    drawing, *_ = sheet()
    np.testing.assert_array_equal(raster(moved(drawing, 17))[17:], raster(drawing))
    group = elements(parsed(moved(drawing, 17)), "g")[1]
    assert group.get("transform") == "translate(0 17)"


def texts_of(canvas, x=0, y=0):
    for drawn in canvas.drawn:
        if isinstance(drawn, Placed):
            yield from texts_of(drawn.canvas, x + drawn.x, y + drawn.y)
        elif hasattr(drawn, "baseline"):
            yield drawn.text, x + drawn.x, y + drawn.baseline, text_width(drawn.text, drawn.style)


NET = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()


PHOTO = RNG.integers(0, 256, (32, 40, 3), dtype=np.uint8)


def model():
    return viztool.wrap_model(NET, size=24, mean=0.5, std=0.25, classes=list("abcde"))


def heatmap():
    return viztool.class_activation_map(model(), PHOTO, layer="2")


RESULTS = {
    "features": lambda: viztool.feature_maps(model(), PHOTO),
    "overlay": lambda: viztool.feature_maps(model(), PHOTO, overlay=True, normalize="layer"),
    "heatmap": heatmap,
    "attribution": lambda: viztool.attribute(model(), PHOTO, "gradient"),
    "comparison": lambda: Comparison([heatmap(), heatmap()]),
    "evaluation": lambda: viztool.evaluate_heatmap(model(), PHOTO, heatmap(), steps=4, draws=2),
    "layers": lambda: viztool.layer_table(model()),
    "demo": lambda: viztool.run_demo("sobel", PHOTO),
    "demo with plots": lambda: viztool.run_demo("activations", PHOTO),
    "kernels": lambda: viztool.visualize_kernels(model(), "2", channels=[0, 1], steps=2, size=16),
}


@pytest.mark.parametrize("name", RESULTS)
def test_every_result_is_written_in_both_with_all_its_words(name, tmp_path):
    result = RESULTS[name]()
    drawing = result.drawing()
    said = list(texts_of(drawing))
    for text, x, baseline, width in said:
        assert x >= 0, text
        assert x + width <= drawing.width + 1, text
        assert 0 < baseline < drawing.height, text
    root = ElementTree.parse(result.save(tmp_path / "x.svg")).getroot()
    assert [text.text for text in elements(root, "text")] == [text for text, *_ in said]
    assert (int(root.get("height")), int(root.get("width"))) == result.picture().shape[:2]
    found = words(result.save(tmp_path / "x.pdf").read_bytes())
    assert found == "".join(re.sub(r"\s", "", text) for text, *_ in said)
    assert len(images((tmp_path / "x.pdf").read_bytes())) <= len(elements(root, "image"))


@pytest.mark.parametrize("suffix", [".svg", ".pdf"])
def test_the_command_writes_it_twice(suffix, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    for _ in range(2):
        done = CliRunner().invoke(main, ["layers", "-m", "resnet18", "--depth", "1", "-o", f"x{suffix}"])
        assert (done.exit_code, done.stderr) == (0, "")
    content = Path(f"x{suffix}").read_bytes()
    assert content.startswith({".svg": b"<?xml", ".pdf": b"%PDF"}[suffix])
