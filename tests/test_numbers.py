"""How numbers are written on the sheets."""

import pytest

from viztool.render.numbers import counted, number, percent, points
from viztool.render.text import BODY, text_width, wrap


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (1.4, ".2g", "1.4"),
        (1234.5, ".2g", "1200"),
        (12345, ".3g", "12,300"),
        (-0.5, "g", "−0.5"),
        (0.00012, ".1g", "0.0001"),
        (4.54e-5, ".3g", "4.54e−5"),
        (2.5e9, ".2g", "2.5e9"),
        (0.9996, ".2g", "1"),
        (99.96, ".3g", "100"),
        (-0.04, ".1f", "0.0"),
        (-0.0, "g", "0"),
        (float("inf"), "g", "inf"),
        (8, "g", "8"),
    ],
)
def test_a_number_has_no_exponent_where_its_digits_can_be_read(value, form, text):
    assert number(value, form) == text


def test_a_share_and_a_difference_of_shares_are_told_apart():
    assert (percent(0.314), percent(0.314, 1), percent(-0.02)) == ("31 %", "31.4 %", "−2 %")
    assert (points(0.314), points(0.01), points(0.314, 1)) == ("31 points", "1 point", "31.4 points")


def test_a_line_is_never_broken_before_its_percent_sign():
    text = "all of them lose 31 % of it"
    lines = wrap(text, text_width("all of them lose 31", BODY) + 3, BODY)
    assert lines == ["all of them lose", "31 % of it"]


def test_one_photo_is_no_photos():
    assert [counted(count, "photos") for count in (0, 1, 2, 1200)] == [
        "0 photos",
        "1 photo",
        "2 photos",
        "1,200 photos",
    ]
