"""What a heatmap draws and says of itself."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from attribution_nets import conv_net
from matplotlib import colormaps

import viztool
from viztool.errors import ModelError
from viztool.heatmaps.heatmap import Heatmap
from viztool.render.colormaps import color_bar, colorize, overlay


@pytest.fixture
def heatmap() -> Heatmap:
    return viztool.attribute(conv_net(), torch.randn(2, 3, 12, 12), steps=5, target=1)


def test_the_scale_of_a_coarse_map_ends_at_its_largest_value(heatmap):
    raw = torch.randn(2, 7, 7)
    coarse = replace(heatmap, raw=raw)
    assert [coarse.limit(0), coarse.limit(1)] == raw.abs().amax((1, 2)).tolist()


def test_the_scale_of_a_fine_map_leaves_out_the_two_hundredth_part_that_is_largest(heatmap):
    raw = torch.randn(2, 100, 100)
    fine = replace(heatmap, raw=raw)
    beyond = (raw.abs() > torch.tensor([fine.limit(0), fine.limit(1)]).view(2, 1, 1)).sum((1, 2))
    assert beyond.tolist() == [50, 50]


def test_the_scale_of_a_map_with_one_pixel_ends_there(heatmap):
    raw = torch.zeros(2, 100, 100)
    raw[0, 3, 4] = -2.0
    sparse = replace(heatmap, raw=raw)
    assert [sparse.limit(0), sparse.limit(1)] == [2.0, 0.0]


def test_checks_say_whether_the_map_adds_up_and_how_it_stands_beside_random_ones(heatmap):
    told = heatmap.details["completeness"]
    line = f"sum {told['sum'][1]:.3g} of {told['whole'][1]:.3g} = f(x) − f(baseline)"
    assert heatmap.checks(1) == [line]
    checked = replace(heatmap, measured=(["one"], ["two", "three"]))
    assert checked.checks(1) == [line, "two", "three"]
    assert checked.numbers["images"][0]["checks"][1:] == ["one"]


def test_heat_is_inferno_from_zero_to_the_limit():
    values = np.array([0.0, 1.0, 2.0, 3.0], np.float32)
    expected = np.rint(255 * colormaps["inferno"](np.array([0, 128 / 255, 1.0, 1.0]))[:, :3])
    assert np.array_equal(colorize(values, 2.0, heat=True), expected.astype(np.uint8))
    assert np.array_equal(colorize(values, 0.0, heat=True), colorize(np.zeros(4, np.float32), 1.0, heat=True))


def test_the_bar_of_heat_over_a_photo_is_what_is_drawn_over_its_grey():
    grey = np.full((1, 5, 3), 128, np.uint8)
    values = np.linspace(0, 7, 5, dtype=np.float32)[None]
    assert np.array_equal(
        overlay(values, 7.0, grey, heat=True), color_bar(5, 1, signed=False, overlaid=True, heat=True)
    )


def test_what_is_signed_is_drawn_around_zero_and_what_is_not_as_heat(heatmap):
    """The two pictures of a map differ in colours only if it says that it may be negative."""
    unsigned = replace(heatmap, signed=False, raw=heatmap.raw.abs())
    signed = replace(heatmap, raw=heatmap.raw.abs())
    one, two = unsigned.picture().astype(int), signed.picture().astype(int)
    inferno = colormaps["inferno"](0.0)[:3]
    dark = np.rint(255 * np.array(inferno))
    assert (np.abs(one - dark).max(2) == 0).any()
    assert not (np.abs(two - dark).max(2) == 0).any()


@pytest.mark.parametrize(("part", "what"), [("raw", "the map of integrated_gradients"), ("score", "the score")])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_not_finite_is_no_heatmap(heatmap, part, what, value):
    message = rf"^{what} is not finite \(NaN or infinity\): look at the network's weights, and at the input$"
    with pytest.raises(ModelError, match=message):
        replace(heatmap, **{part: torch.full_like(getattr(heatmap, part), value)})


class TestWhatSpeaksFor:
    """A map that is 4 × 4 with one place for and one, twice as far from nothing, against."""

    @pytest.fixture
    def two_sided(self, heatmap) -> Heatmap:
        raw = torch.zeros(2, 4, 4)
        raw[:, 1, 1], raw[:, 1, 2] = 1.0, -2.0
        return replace(heatmap, raw=raw)

    def test_the_map_is_highest_there_and_never_where_something_speaks_against(self, two_sided):
        at = divmod(int(two_sided.map[0].argmax()), 12)
        assert at[0] // 3 == at[1] // 3 == 1
        assert float(two_sided.map.min()) == 0
        assert float(two_sided.map.amax()) == 1

    def test_the_signed_map_has_both_and_the_magnitude_how_far(self, two_sided):
        assert float(two_sided.signed_map.amin()) == -1
        assert 0 < float(two_sided.signed_map.amax()) <= 0.5
        assert torch.equal(two_sided.magnitude, two_sided.signed_map.abs())

    def test_the_same_evidence_is_the_same_map_whether_the_method_rectifies_or_not(self, two_sided):
        rectified = replace(two_sided, raw=two_sided.raw.relu(), signed=False)
        assert torch.equal(two_sided.map, rectified.map)
        assert torch.equal(rectified.map, rectified.magnitude)

    def test_nothing_for_is_a_map_of_zeros(self, two_sided):
        assert not replace(two_sided, raw=-two_sided.raw.abs()).map.any()


def test_a_heatmap_keeps_no_graph(heatmap):
    weight = torch.ones(2, requires_grad=True)
    made = replace(heatmap, score=weight * 3, raw=heatmap.raw * weight.view(2, 1, 1))
    assert not made.score.requires_grad
    assert not made.raw.requires_grad


@pytest.mark.parametrize("method", ["gradcam", "cam", "scorecam", "ablationcam", "fullgrad"])
def test_nor_does_one_of_a_method(method):
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 3)
    )
    made = viztool.class_activation_map(
        net, torch.randn(1, 3, 8, 8), method, layer=None if method == "fullgrad" else "0"
    )
    assert not made.score.requires_grad
    assert not made.raw.requires_grad
