"""Colours mean numbers, sizes are kept, and nothing stands on anything else."""

import ast
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import viztool
from viztool.render.canvas import Canvas, Fill, Line, Placed, Text
from viztool.render.charts import Bar, Bars
from viztool.render.colormaps import NOT_A_NUMBER, color_bar, colorize, overlay
from viztool.render.parts import draw_cells
from viztool.render.predictions import Predictions
from viztool.render.raster import raster
from viztool.render.scaling import scaled
from viztool.render.sheet import Band, Header, Sheet, contact_sheet
from viztool.render.text import BODY, HEADING, TITLE, draw_text, fit, text_width, wrap
from viztool.render.tiles import Tile, draw_tile

WHITE = (255, 255, 255)


def luminance(picture):
    return picture.astype(float) @ (0.2126, 0.7152, 0.0722)


class TestColorize:
    def test_zero_is_white_and_each_sign_has_its_hue(self):
        picture = colorize(np.array([-2.0, -1.0, 0.0, 1.0, 2.0], np.float32), 2.0)
        assert tuple(picture[2]) == WHITE
        assert all(picture[3:, 0] > picture[3:, 2]), "positive is redder than blue"
        assert all(picture[:2, 2] > picture[:2, 0]), "negative is bluer than red"

    def test_more_is_always_darker(self):
        values = np.linspace(0, 1, 256, dtype=np.float32)
        for sign in (1, -1):
            assert (np.diff(luminance(colorize(sign * values, 1.0))) <= 0).all()
            assert luminance(colorize(np.float32([sign]), 1.0))[0] < 60

    def test_beyond_the_limit_is_the_limits_colour(self):
        picture = colorize(np.array([3.0, 30.0, -3.0, -30.0], np.float32), 3.0)
        assert (picture[0] == picture[1]).all()
        assert (picture[2] == picture[3]).all()

    def test_the_scale_is_relative_to_the_limit(self):
        values = np.array([-0.3, 0.1, 0.7], np.float32)
        np.testing.assert_array_equal(colorize(values, 1.0), colorize(values * 64, 64.0))

    def test_what_is_not_finite_has_a_colour_that_no_number_has(self):
        picture = colorize(np.array([np.nan, np.inf, -np.inf], np.float32), 1.0)
        assert (picture == NOT_A_NUMBER).all()
        every = colorize(np.linspace(-1, 1, 1001, dtype=np.float32), 1.0)
        assert not (every == NOT_A_NUMBER).all(axis=1).any()

    def test_a_limit_of_zero_is_all_white(self):
        assert (colorize(np.zeros((2, 2), np.float32), 0.0) == 255).all()

    def test_the_bar_is_the_scale_itself(self):
        signed, positive = color_bar(101, 3, signed=True), color_bar(101, 3, signed=False)
        assert tuple(signed[0, 50]) == tuple(positive[0, 0]) == WHITE
        ends = colorize(np.array([-1.0, 1.0], np.float32), 1.0)
        assert (signed[0, [0, -1]] == ends).all()
        assert (positive[0, -1] == ends[1]).all()


class TestOverlay:
    PHOTO = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)

    def test_zero_leaves_the_photo_grey(self):
        laid = overlay(np.zeros((4, 4), np.float32), 1.0, self.PHOTO)
        grey = self.PHOTO @ (0.299, 0.587, 0.114)
        np.testing.assert_allclose(laid, np.repeat(255 - 0.55 * (255 - grey[..., None]), 3, axis=2), atol=1)

    def test_the_strongest_place_is_the_most_coloured(self):
        values = np.zeros((4, 4), np.float32)
        values[1, 2] = 1.0
        laid = overlay(values, 1.0, self.PHOTO).astype(int)
        redness = laid[..., 0] - laid[..., 2]
        assert redness[4:8, 8:12].mean() > 5 * redness[12:, :4].mean()
        assert np.unravel_index(redness.argmax(), redness.shape)[0] in range(3, 9)

    @pytest.mark.parametrize("heat", [False, True])
    def test_what_lies_below_the_largest_value_can_be_seen(self, heat):
        photo = np.zeros((16, 16, 3), np.uint8)
        photo[:, 8:] = 255
        light = luminance(overlay(np.ones((4, 4), np.float32), 1.0, photo, heat=heat))
        assert light[:, 8:].min() - light[:, :8].max() > 0.2 * 255

    @pytest.mark.parametrize("heat", [False, True])
    def test_black_is_no_hole_in_a_map(self, heat):
        values = np.repeat(np.float32([[0, 1]]), 4, 0)
        laid = overlay(values, 1.0, np.zeros((16, 16, 3), np.uint8), heat=heat).astype(float)
        assert luminance(laid[:, :3]).min() > 45
        assert np.abs(laid[:, 13:] - laid[:, :3]).max(2).min() > 60


class TestTiles:
    @pytest.mark.parametrize("heat", [False, True])
    @pytest.mark.parametrize("sides", [(7, 7), (5, 90), (90, 5), (64, 64), (200, 150)])
    def test_cells_have_the_colours_of_the_values_at_their_size(self, sides, heat):
        values = np.random.default_rng(0).standard_normal(sides, np.float32)
        values[1, 1:3] = np.nan, np.inf
        canvas = Canvas(64, 64)
        draw_cells(canvas, 0, 0, (64, 64), values, 1.5, heat=heat)
        np.testing.assert_array_equal(raster(canvas), colorize(scaled(values, (64, 64)), 1.5, heat=heat))

    def test_larger_keeps_cells_whole(self):
        values = np.arange(49, dtype=np.float32).reshape(7, 7)
        np.testing.assert_array_equal(scaled(values, (112, 112)), np.kron(values, np.ones((16, 16), np.float32)))

    def test_smaller_averages(self):
        values = np.random.default_rng(0).normal(size=(224, 224)).astype(np.float32)
        small = scaled(values, (112, 112))
        np.testing.assert_allclose(small, values.reshape(112, 2, 112, 2).mean((1, 3)), atol=1e-6)

    def test_a_marked_tile_draws_no_values(self):
        noise = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)
        tile = raster(draw_tile(Tile(noise, 1e-30, "#0", mark="dead"), (112, 112)))
        np.testing.assert_array_equal(tile, raster(draw_tile(Tile(noise * 0, 1.0, "#0", mark="dead"), (112, 112))))
        assert (tile.max(axis=2).astype(int) - tile.min(axis=2) <= 12).all(), "grey only"


class TestText:
    LONG = "backbone.features.denseblock4.denselayer16.conv2"

    @pytest.mark.parametrize("width", [40, 100, 200])
    def test_fitted_text_fits_and_keeps_both_ends(self, width):
        short = fit(self.LONG, width, BODY)
        assert text_width(short, BODY) <= width
        head, tail = short.split("…")
        assert self.LONG.startswith(head)
        assert self.LONG.endswith(tail)

    def test_what_fits_is_left_alone(self):
        assert fit("blocks.4", 500, BODY) == "blocks.4"

    def test_wrapped_lines_hold_all_words_in_order_and_fit(self):
        text = "White is zero, red positive, blue negative, and that is all there is to say."
        lines = wrap(text, 160, BODY)
        assert " ".join(lines) == text
        assert len(lines) > 2
        assert max(text_width(line, BODY) for line in lines) <= 160

    @pytest.mark.parametrize("style", [BODY, HEADING, TITLE])
    def test_the_width_is_the_width_that_is_drawn(self, style):
        canvas = Canvas(60, 600)
        canvas.text("HmmH", 20, 40, style)
        columns = np.flatnonzero((raster(canvas) < 128).any(axis=(0, 2)))
        assert columns[-1] - columns[0] == pytest.approx(text_width("HmmH", style), abs=7)  # side bearings

    def test_alignment(self):
        for align, expected in (("left", 300), ("center", 300), ("right", 300)):
            canvas = Canvas(60, 600)
            canvas.text("HmH", 300, 40, TITLE, align)
            columns = np.flatnonzero((raster(canvas) < 128).any(axis=(0, 2)))
            place = {"left": columns[0], "center": columns.mean(), "right": columns[-1]}[align]
            assert place == pytest.approx(expected, abs=4)


def sheet(tiles, *, aspect=1.0, predictions=(("cat", 0.75), ("dog", 0.25)), name="blocks.4"):
    header = Header(
        "cat.jpg", "net", np.full((30, 40, 3), 200, np.uint8), None, Predictions(tuple(predictions)), ["A note."]
    )
    band = Band(name, ["Conv2d", "4 channels"], tiles, signed=True, bar=("−1", "0", "1"))
    return raster(contact_sheet(Sheet(header, [band], "footer", aspect)))


class TestContactSheet:
    GREENLESS = colorize(np.ones(1, np.float32), 1.0)[0]  # the darkest red: on a sheet only maps have it

    @pytest.mark.parametrize("aspect", [1.0, 3.0, 1 / 3, 100.0, 0.01])
    @pytest.mark.parametrize("count", [1, 8, 9, 40])
    def test_every_tile_is_there_whole(self, aspect, count):
        full = np.ones((7, 7), np.float32)
        picture = sheet([Tile(full, 1.0, f"#{i}") for i in range(count)], aspect=aspect)
        side = np.sqrt(np.clip(aspect, 1 / 6, 6))
        inside = (round(112 * side) - 2) * (round(112 / side) - 2)  # without the hairline round it
        painted = (picture[260:-46, 290:] == self.GREENLESS).all(axis=2).sum()
        assert painted == count * inside

    def test_maps_that_are_drawn_smaller_say_so(self):
        plain = sheet([Tile(np.ones((112, 112), np.float32), 1.0, "#0")])
        larger = sheet([Tile(np.ones((224, 224), np.float32), 1.0, "#0")])
        assert len(larger) == len(plain)
        assert (larger != plain).any(axis=2).sum() > 100, "a line of words, and the bar below it lower down"

    def test_many_tiles_are_smaller_and_all_there(self):
        full = np.ones((7, 7), np.float32)
        picture = sheet([Tile(full, 1.0, f"#{i}") for i in range(500)])
        painted = (picture[260:-46, 290:] == self.GREENLESS).all(axis=2).sum()
        assert painted == 500 * 54 * 54

    def test_nothing_touches_the_margins(self):
        tiles = [Tile(np.ones((7, 7), np.float32), 1.0, f"#{i}") for i in range(64)]
        long_name = ".".join(["a_rather_long_name_for_a_layer"] * 4)
        picture = sheet(tiles, name=long_name, predictions=[("a class name that goes on and on " * 3, 1.0)] * 5)
        assert (picture[:, :38] == 255).all()
        assert (picture[:, -38:] == 255).all()

    def test_the_bar_of_a_prediction_is_as_long_as_its_probability(self):
        def ink(probability):
            picture = sheet([], predictions=[("", probability)])
            return (picture[:260] == (33, 37, 41)).all(axis=2).sum()

        empty, half, full = ink(0.0), ink(0.5), ink(1.0)
        assert (half - empty) / (full - empty) == pytest.approx(0.5, abs=0.03)


def test_a_file_name_that_is_no_text_can_be_drawn():
    """Halves of a pair, as Python has them for bytes that are no UTF-8, end the process in OpenCV."""
    canvas = Canvas(20, 100)
    canvas.text("caf\udce9.jpg", 90, 15, BODY, "right")
    assert (raster(canvas) < 128).any()
    assert text_width("caf\udce9.jpg", BODY) == text_width("caf?.jpg", BODY)


class TestBars:
    ROWS = (Bar("least", 1.0, "1"), Bar("more", 100.0, "100"), Bar("most", 10_000.0, "10,000"))

    @staticmethod
    def drawn(bars):
        (placed,) = (drawn for drawn in bars.draw().drawn if isinstance(drawn, Placed))
        return placed.canvas.drawn

    def test_a_bar_is_its_share_of_the_room_that_it_stands_in(self):
        track, bar = [drawn.width for drawn in self.drawn(Bars(self.ROWS, "")) if isinstance(drawn, Fill)][-2:]
        assert track == bar
        assert [drawn for drawn in self.drawn(Bars(self.ROWS, "")) if isinstance(drawn, Line)] == []

    def test_in_powers_of_ten_it_stands_on_a_scale_and_in_no_room_that_it_would_be_a_share_of(self):
        drawn = self.drawn(Bars(self.ROWS, "", log=True))
        fills = [each for each in drawn if isinstance(each, Fill)]
        lines = [each.start[0] for each in drawn if isinstance(each, Line)]
        powers = [each.text for each in drawn if isinstance(each, Text) and each.align == "center"]
        assert powers == ["0.1", "1", "10", "100", "1000", "10,000"]
        ends = [each.x + each.width for each in fills]
        assert len(fills) == 3
        assert [abs(end - lines[at]) <= 1 for end, at in zip(ends, (1, 3, 5), strict=True)] == [True] * 3


def drawn_alone(character):
    canvas = np.full((40, 60, 3), 255, np.uint8)
    draw_text(canvas, character, 10, 28, BODY)
    return canvas.tobytes()


def words_of(file):
    """All strings of a file but its docstrings."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    told = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told:
            yield node.value


def test_no_word_of_viztool_has_a_character_that_cannot_be_drawn():
    """What the font does not have is drawn as a question mark."""
    missing = drawn_alone("?")
    assert drawn_alone("\U000f1234") == missing, "this is how one is drawn that no font has"
    used = {one for file in Path(viztool.__file__).parent.rglob("*.py") for text in words_of(file) for one in text}
    used = {one for one in used if one.isprintable() and one != "?"}
    assert {"⁺", "×", "−", "ε"} <= used
    assert [one for one in sorted(used) if drawn_alone(one) == missing] == []


def test_threads_write_each_in_their_own_size_and_weight():
    def written(style):
        canvas = np.full((40, 300, 3), 255, np.uint8)
        draw_text(canvas, "Evidence 0.93", 2, 30, style)
        return canvas

    styles = [TITLE, BODY, HEADING, BODY.with_size(20)]
    alone = [written(style) for style in styles]

    def look(at):
        return all(np.array_equal(written(styles[at]), alone[at]) for _ in range(400))

    with ThreadPoolExecutor(len(styles)) as pool:
        assert all(pool.map(look, range(len(styles))))
