"""The curves as drawn: lines where their values are, bands as wide as their spread, nothing over anything else."""

import numpy as np
import pytest
import torch
from faithfulness_helpers import additive, heatmap_of

from viztool.faithfulness import evaluate_heatmap
from viztool.render.curves import BLUE, CHANCE, CurveBand, CurveSheet, Line, Panel, _scale_end, curve_sheet
from viztool.render.heading import draw_heading
from viztool.render.raster import raster

SHARES = np.linspace(0, 1, 11)


def sheet(*lines, panels=1, notes=("a note",), table=(("", "map"), ("deletion", "0.10"))):
    panel = Panel("deletion", [("map", BLUE)], "taken out", lines)
    band = CurveBand("cat.jpg", "gradcam", table, [panel] * panels)
    return CurveSheet("title", "subtitle", notes, [band], "footer")


def rows_of(picture, color):
    """Where the picture has exactly this colour, apart from words."""
    return np.argwhere((picture == color).all(2))


def plot(picture):
    """(top, bottom, left, right) of the plot's inside, by the rules at its ends."""
    at = rows_of(picture, BLUE)
    return at[:, 0].min(), at[:, 0].max(), at[:, 1].min(), at[:, 1].max()


class TestCurves:
    def test_a_level_line_stands_at_its_height(self):
        found = {}
        for value in (0.0, 0.5, 1.0):
            lines = Line(SHARES, np.ones(11), CHANCE), Line(SHARES, np.full(11, value), BLUE)
            at = rows_of(raster(curve_sheet(sheet(*lines))), BLUE)
            long = [row for row in np.unique(at[:, 0]) if (at[:, 0] == row).sum() > 150]
            found[value] = np.mean(long)
        assert found[0.0] - found[1.0] == pytest.approx(175, abs=1)
        assert found[0.5] == pytest.approx((found[0.0] + found[1.0]) / 2, abs=1)

    def test_a_falling_line_goes_from_corner_to_corner(self):
        picture = raster(curve_sheet(sheet(Line(SHARES, 1 - SHARES, BLUE))))
        at = rows_of(picture, BLUE)
        at = at[at[:, 0] > at[:, 0].max() - 178]
        first, last = at[at[:, 1].argmin()], at[at[:, 1].argmax()]
        assert last[0] - first[0] == pytest.approx(175, abs=3)
        assert last[1] - first[1] == pytest.approx(197, abs=3)
        middle = at[np.abs(at[:, 1] - (first[1] + last[1]) / 2).argmin()]
        assert middle[0] == pytest.approx((first[0] + last[0]) / 2, abs=3)

    def test_a_band_is_as_wide_as_its_spread(self):
        lines = Line(SHARES, np.full(11, 0.5), BLUE, np.full(11, 0.25)), Line(SHARES, np.ones(11), CHANCE)
        with_band = raster(curve_sheet(sheet(*lines)))
        without = raster(curve_sheet(sheet(Line(SHARES, lines[0].values, BLUE), lines[1])))
        changed = np.argwhere((with_band != without).any(2))
        assert np.ptp(changed[:, 0]) == pytest.approx(175 / 2, abs=2)
        assert np.ptp(changed[:, 1]) == pytest.approx(197, abs=2)

    @pytest.mark.parametrize(
        ("largest", "end"),
        [(0.93, 1), (0.41, 0.6), (0.4, 0.4), (0.05, 0.06), (7.1, 8), (120, 200), (0, 1), (np.nan, 1)],
    )
    def test_the_scale_ends_at_a_round_number(self, largest, end):
        assert _scale_end(largest) == pytest.approx(end)

    def test_all_bands_share_one_scale(self):
        low, high = Line(SHARES, np.full(11, 0.1), BLUE), Line(SHARES, np.full(11, 1.0), BLUE)
        panel = [Panel("a", [], "x", [line]) for line in (low, high)]
        bands = [CurveBand("t", "s", [("", "map")], [each]) for each in panel]
        both = raster(curve_sheet(CurveSheet("title", "", [], bands, "")))
        alone = raster(curve_sheet(CurveSheet("title", "", [], bands[:1], "")))
        height = alone.shape[0] - 46
        assert not np.array_equal(both[:height], alone[:height])  # alone, 0.1 is the top of the scale

    def test_words_and_numbers_do_not_touch_the_plots(self):
        table = [("", "map", "random", "z"), *[("average drop ↓", "−0.99", "−0.99 ± 0.99", "−99.9")] * 6]
        line = Line(SHARES, 1 - SHARES, BLUE)
        wide = sheet(line, panels=3, table=table)
        words = CurveBand("w" * 200, "w" * 300, table, wide.bands[0].panels, np.zeros((50, 50, 3), np.uint8))
        picture = raster(curve_sheet(CurveSheet("w" * 300, "w" * 300, ["w " * 300], [words], "w" * 400)))
        assert picture.shape[1] == 1340
        plain = raster(curve_sheet(wide))
        band = picture[-(plain.shape[0] - draw_heading("title", "subtitle", ["a note"]).height) :]
        bare = plain[-band.shape[0] :]
        # Right of where the plots begin, the sheet with the longest words is the same as that with short ones.
        np.testing.assert_array_equal(band[70:-46, 560:], bare[70:-46, 560:])

    def test_the_sheet_of_an_evaluation_has_a_band_for_each_image(self):
        net, _, terms = additive(1, 6, 6)
        x = torch.rand(3, 1, 6, 6)
        three = evaluate_heatmap(net, x, heatmap_of(net, x, terms.expand(3, -1, -1)), draws=2).picture()
        one = evaluate_heatmap(net, x[:1], heatmap_of(net, x[:1], terms), draws=2).picture()
        assert three.dtype == np.uint8
        head = draw_heading_height(one)
        assert three.shape[0] - head - 46 == 3 * (one.shape[0] - head - 46)


def draw_heading_height(picture):
    """The rows above the first rule."""
    ruled = (picture[:, 40:1300] == (222, 226, 230)).all((1, 2))
    return int(ruled.argmax())
